ARG BASE_IMAGE=python:3.11-slim-bookworm

# The libraries of both engines: the slowest layer and the one that changes least.
FROM ${BASE_IMAGE} AS base
WORKDIR /opt/app
COPY requirements.txt requirements-torch.txt ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    pip install --no-cache-dir -r requirements.txt -r requirements-torch.txt
# The root may be read-only, the log is followed live, and nothing here reports to anyone.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1

# Training and tests; built only when it is asked for: docker build --target dev
FROM base AS dev
COPY requirements-dev.txt ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    pip install --no-cache-dir -r requirements-dev.txt
COPY pyproject.toml Dockerfile ./
COPY aurora/ aurora/
COPY inference/ inference/
COPY training/ training/
COPY docs/ docs/
COPY test/ test/
COPY weights/ weights/
ENTRYPOINT ["python", "-m"]
CMD ["pytest", "-p", "no:cacheprovider"]

# What runs at the challenge: no training, no tests, the weights last. There is no USER on purpose: a container
# started as root writes as the owner of /output, and one started with --user stays that user.
FROM base AS runtime
LABEL org.opencontainers.image.title="aurora-ultrasound" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# What is mounted here is what every command takes unless it is told otherwise.
ENV AURORA_INPUT=/input \
    AURORA_OUTPUT=/output
COPY LICENSE ./
COPY aurora/ aurora/
COPY inference/ inference/
COPY weights/ weights/
ENTRYPOINT ["python", "-m", "inference"]
CMD ["run", "--input", "/input", "--output", "/output"]
