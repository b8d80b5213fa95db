"""Scanner profiles: probes and machine settings."""

from dataclasses import dataclass

from training.phantom.scanner.geometry import Geometry

SOUND_SPEED = 1.54  # mm per microsecond in soft tissue
ATTENUATION = 0.05  # dB per mm and MHz, one way, in soft tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnIn:
    """The text and graphics that a machine burns into its images.

    Positions are fractions of the image's width and height.

    Attributes:
        texts: templates, each with x and y of its base line. A negative x is the distance of the text's end from the
            right edge.
        side: the side of the field of view with the ruler, "left" or "right"; the orientation mark is opposite.
        bar: the upper left corner of the grey bar.
        mark: the letter of the orientation mark.
    """

    texts: tuple[tuple[str, float, float], ...]
    side: str
    bar: tuple[float, float]
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A probe with the settings of its machine.

    Attributes:
        half_angle: half the opening angle of the fan in degrees; 0 for a linear probe.
        face: radius of the probe's face, as a fraction of the depth.
        margin: black margins of a linear probe's image at the top, right, bottom and left, as fractions of its sides.
        frequency: in MHz.
        depth: in mm.
        cycles: pulse length in wavelengths.
        f_number: focal length over aperture.
        gain, dynamic_range: in dB.
        noise: level of the electronic noise at the bottom of the image, in dB relative to the mean tissue echo.
        residual_attenuation: the fraction (0 to 1) of the attenuation that time gain usually doesn't compensate.
    """

    name: str
    half_angle: float
    face: float
    margin: tuple[float, float, float, float] = (0, 0, 0, 0)
    frequency: float
    depth: float
    cycles: float
    f_number: float
    gain: float
    dynamic_range: float
    noise: float
    residual_attenuation: float
    burn_in: BurnIn

    def geometry(self, height: int, width: int) -> Geometry:
        """Return the geometry of an image of `height` x `width` pixels."""
        return Geometry(height, width, self.half_angle, self.face, self.margin)

    @property
    def attenuation(self) -> float:
        """Attenuation by tissue on the way to the bottom of the image and back, in dB."""
        return 2 * ATTENUATION * self.frequency * self.depth

    @property
    def pulse(self) -> float:
        """Standard deviation of the axial point spread (pulse length / 2), as a fraction of the height."""
        return self.cycles * SOUND_SPEED / self.frequency / 2 / 2.355 / self.depth

    @property
    def beam(self) -> float:
        """Standard deviation of the lateral point spread (wavelength x f-number), as a fraction of the height."""
        return self.f_number * SOUND_SPEED / self.frequency / 2.355 / self.depth


SCANNERS: dict[str, Scanner] = {
    scanner.name: scanner
    for scanner in (
        Scanner(
            name="linear_premium", half_angle=0, face=0, margin=(0.075, 0.09, 0, 0), frequency=12, depth=40, cycles=3.5,
            f_number=4, gain=0, dynamic_range=60, noise=-42, residual_attenuation=0.07,
            burn_in=BurnIn(
                texts=(("ARGO 9  L12-4", 0.1, 0.055), ("{date}", -0.13, 0.055), ("{gain}%", -0.01, 0.12),
                       ("DR{range}", -0.01, 0.17), ("F{frame}", -0.01, 0.95)),
                side="right", bar=(0.96, 0.25), mark="A",
            ),
        ),
        Scanner(
            name="linear_portable", half_angle=0, face=0, margin=(0, 0, 0.08, 0.08), frequency=7.5, depth=50, cycles=5,
            f_number=6, gain=3, dynamic_range=52, noise=-28, residual_attenuation=0.18,
            burn_in=BurnIn(
                texts=(("MSK", 0.005, 0.09), ("{frequency}", 0.005, 0.14), ("Gn {gain}", 0.1, 0.98),
                       ("MI {mi}", 0.32, 0.98), ("{date} {time}", -0.02, 0.98)),
                side="left", bar=(0.01, 0.6), mark="o",
            ),
        ),
        Scanner(
            name="curved_abdominal", half_angle=33, face=0.4, frequency=3.5, depth=150, cycles=4.5, f_number=6,
            gain=0, dynamic_range=60, noise=-32, residual_attenuation=0.09,
            burn_in=BurnIn(
                texts=(("Vesta C5", 0.02, 0.05), ("{date}", 0.02, 0.1), ("{frequency} MHz", 0.02, 0.15),
                       ("Gain {gain}", 0.02, 0.2), ("DR {range}", 0.02, 0.25), ("MI {mi}", -0.02, 0.05),
                       ("{depth} cm", -0.02, 0.1), ("Fr {frame}", 0.02, 0.98)),
                side="right", bar=(0.95, 0.14), mark="V",
            ),
        ),
        Scanner(
            name="sector_cardiac", half_angle=40, face=0.15, frequency=2.5, depth=160, cycles=4, f_number=6,
            gain=-2, dynamic_range=48, noise=-28, residual_attenuation=0.1,
            burn_in=BurnIn(
                texts=(("P4 CARDIAC", -0.02, 0.05), ("{time}", -0.02, 0.1), ("{frequency}M {gain}dB", -0.02, 0.15),
                       ("C {range}", -0.02, 0.2), ("{depth}cm", -0.02, 0.98), ("{frame} Hz", 0.02, 0.98)),
                side="left", bar=(0.02, 0.04), mark="P",
            ),
        ),
    )
}  # fmt: skip
