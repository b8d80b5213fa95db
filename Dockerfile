# One file builds several images: docker build --target NAME .
#   full             PyTorch and ONNX Runtime, the default; with CUDA if pip's PyTorch has it
#   slim             ONNX Runtime on a CPU, no PyTorch, no `score`
#   slim-gpu         ONNX Runtime with CUDA, no PyTorch, no `score`
#   serve            slim with the HTTP service, not as root
#   grand-challenge  full with the HTTP service, not as root, with the weights in /opt/ml/model if there are any; it runs
#                    once per job
#   grand-challenge-invoke   the same, labelled for invocations: it stays up and answers POST /invoke
#   dev              training and the tests
#   slim-checked, full-checked   slim and full, built only if they contain nothing superfluous
# Only serve and grand-challenge set a USER: a container started as root writes as the owner of /output, and one started with
# --user stays that user.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
WORKDIR /opt/app
# For a read-only root file system and a live log, without telemetry.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1
RUN python -m venv --without-pip /opt/venv

# The libraries are the slowest layers and change least. Their tests and C headers are removed, and their bytecode is
# unchecked, so that Python compares no timestamps and writes no files.
FROM base AS slim-libraries
COPY deploy/install.sh requirements-slim.txt ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    sh install.sh -r requirements-slim.txt

FROM slim-libraries AS full-libraries
COPY requirements.txt requirements-torch.txt ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    sh install.sh -r requirements.txt -r requirements-torch.txt

FROM slim-libraries AS serve-libraries
COPY requirements-serve.txt ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    sh install.sh -r requirements-serve.txt

FROM full-libraries AS grand-challenge-libraries
COPY requirements-serve.txt ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    sh install.sh -r requirements-serve.txt

FROM base AS slim-gpu-libraries
COPY deploy/install.sh requirements-slim.txt ./
RUN sed -i 's/^onnxruntime==/onnxruntime-gpu[cuda,cudnn]==/' requirements-slim.txt
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    sh install.sh -r requirements-slim.txt

# The code that runs at the challenge: no training and no tests.
FROM base AS code
COPY LICENSE ./
COPY aurora/ aurora/
COPY inference/ inference/
RUN python -m compileall -q --invalidation-mode unchecked-hash aurora inference

FROM base AS runtime
ARG SOURCE=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aurora-ultrasound" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      aurora.weights.sha256="c662a3c10f26a0470264270854c631bb2cfea9c843c618067b9f084540a24c5b"
# The default folders of every command.
ENV AURORA_INPUT=/input \
    AURORA_OUTPUT=/output
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "inference"]
CMD ["run", "--input", "/input", "--output", "/output"]

FROM runtime AS slim
COPY --from=slim-libraries /opt/venv /opt/venv
COPY --from=code /opt/app ./
COPY weights/ weights/

FROM runtime AS slim-gpu
COPY --from=slim-gpu-libraries /opt/venv /opt/venv
COPY --from=code /opt/app ./
COPY weights/ weights/

FROM runtime AS serve
RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin user
ENV AURORA_HOST=0.0.0.0
EXPOSE 4743
CMD ["serve"]
COPY --from=serve-libraries /opt/venv /opt/venv
COPY --from=code /opt/app ./
COPY weights/ weights/
USER 1000:1000

FROM runtime AS grand-challenge
RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin user
ENV AURORA_MODEL_FOLDER=/opt/ml/model
COPY --from=grand-challenge-libraries /opt/venv /opt/venv
COPY --from=code /opt/app ./
COPY weights/ weights/
USER 1000:1000

FROM grand-challenge AS grand-challenge-invoke
LABEL org.grand-challenge.api-method="invoke"
ENV AURORA_HOST=0.0.0.0
EXPOSE 4743
CMD ["serve"]

FROM full-libraries AS dev
COPY requirements-serve.txt requirements-dev.txt ./
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    pip --python /opt/venv/bin/python install --no-cache-dir -r requirements-dev.txt
COPY pyproject.toml Dockerfile ./
COPY aurora/ aurora/
COPY inference/ inference/
COPY training/ training/
COPY deploy/ deploy/
COPY docs/ docs/
COPY test/ test/
COPY weights/ weights/
ENTRYPOINT ["python", "-m"]
CMD ["pytest", "-p", "no:cacheprovider"]

FROM slim AS slim-checked
RUN --mount=type=bind,source=deploy/inventory.py,target=/tmp/inventory.py python /tmp/inventory.py

FROM runtime AS full-image
COPY --from=full-libraries /opt/venv /opt/venv
COPY --from=code /opt/app ./
COPY weights/ weights/

FROM full-image AS full-checked
RUN --mount=type=bind,source=deploy/inventory.py,target=/tmp/inventory.py python /tmp/inventory.py

FROM full-image AS full
