"""Scanner profiles: what differs from machine to machine and from probe to probe."""

from dataclasses import dataclass

from training.phantom.scanner.geometry import Geometry

SOUND_SPEED = 1.54  # mm per microsecond in soft tissue
ATTENUATION = 0.05  # dB per mm and MHz, one way, in soft tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a machine writes about its picture.

    Each of `texts` is a template with its place: x and y of its base line as parts of the image's width and height,
    where a negative x counts from the right edge to the text's end. `side` is where ruler and mark stand, "left" or
    "right" of the field of view; `bar` is the upper left corner of the grey bar, in the same parts; `mark` the letter
    at the probe's marked end.
    """

    texts: tuple[tuple[str, float, float], ...]
    side: str
    bar: tuple[float, float]
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A probe with its machine's settings.

    `half_angle` is half the fan's opening in degrees, 0 for a linear probe; `face` the radius of a
    fan's face as a part of the depth shown; `rim` what a linear probe's image leaves free at the
    top, right, bottom and left, as parts of height and width; `frequency` in MHz; `depth` is the depth shown, in mm;
    `cycles` the pulse length in wavelengths; `f_number` focal length over aperture; `gain` and `dynamic_range` in dB;
    `noise` is the level of the electronic noise at the bottom of the image, in dB of mean tissue echo; `residue` the
    part (0..1) of the attenuation that time gain typically leaves.
    """

    name: str
    half_angle: float
    face: float
    rim: tuple[float, float, float, float] = (0, 0, 0, 0)
    frequency: float
    depth: float
    cycles: float
    f_number: float
    gain: float
    dynamic_range: float
    noise: float
    residue: float
    screen: Screen

    def geometry(self, height: int, width: int) -> Geometry:
        """The field of view in an image of `height` x `width` pixels."""
        return Geometry(height, width, self.half_angle, self.face, self.rim)

    @property
    def attenuation(self) -> float:
        """What tissue costs the sound to the bottom of the image and back, in dB."""
        return 2 * ATTENUATION * self.frequency * self.depth

    @property
    def pulse(self) -> float:
        """Standard deviation of the axial point spread as a part of the image's height (pulse length / 2)."""
        return self.cycles * SOUND_SPEED / self.frequency / 2 / 2.355 / self.depth

    @property
    def beam(self) -> float:
        """Standard deviation of the lateral point spread as a part of the image's height (wavelength x f-number)."""
        return self.f_number * SOUND_SPEED / self.frequency / 2.355 / self.depth


SCANNERS: dict[str, Scanner] = {
    scanner.name: scanner
    for scanner in (
        Scanner(
            name="linear_premium", half_angle=0, face=0, rim=(0.075, 0.09, 0, 0), frequency=12, depth=40, cycles=3.5,
            f_number=4, gain=0, dynamic_range=60, noise=-42, residue=0.07,
            screen=Screen(
                texts=(("ARGO 9  L12-4", 0.1, 0.055), ("{date}", -0.13, 0.055), ("{gain}%", -0.01, 0.12),
                       ("DR{range}", -0.01, 0.17), ("F{frame}", -0.01, 0.95)),
                side="right", bar=(0.96, 0.25), mark="A",
            ),
        ),
        Scanner(
            name="linear_portable", half_angle=0, face=0, rim=(0, 0, 0.08, 0.08), frequency=7.5, depth=50, cycles=5,
            f_number=6, gain=3, dynamic_range=52, noise=-28, residue=0.18,
            screen=Screen(
                texts=(("MSK", 0.005, 0.09), ("{frequency}", 0.005, 0.14), ("Gn {gain}", 0.1, 0.98),
                       ("MI {mi}", 0.32, 0.98), ("{date} {time}", -0.02, 0.98)),
                side="left", bar=(0.01, 0.6), mark="o",
            ),
        ),
        Scanner(
            name="curved_abdominal", half_angle=33, face=0.4, frequency=3.5, depth=150, cycles=4.5, f_number=6,
            gain=0, dynamic_range=60, noise=-32, residue=0.09,
            screen=Screen(
                texts=(("Vesta C5", 0.02, 0.05), ("{date}", 0.02, 0.1), ("{frequency} MHz", 0.02, 0.15),
                       ("Gain {gain}", 0.02, 0.2), ("DR {range}", 0.02, 0.25), ("MI {mi}", -0.02, 0.05),
                       ("{depth} cm", -0.02, 0.1), ("Fr {frame}", 0.02, 0.98)),
                side="right", bar=(0.95, 0.14), mark="V",
            ),
        ),
        Scanner(
            name="sector_cardiac", half_angle=40, face=0.15, frequency=2.5, depth=160, cycles=4, f_number=6,
            gain=-2, dynamic_range=48, noise=-28, residue=0.1,
            screen=Screen(
                texts=(("P4 CARDIAC", -0.02, 0.05), ("{time}", -0.02, 0.1), ("{frequency}M {gain}dB", -0.02, 0.15),
                       ("C {range}", -0.02, 0.2), ("{depth}cm", -0.02, 0.98), ("{frame} Hz", 0.02, 0.98)),
                side="left", bar=(0.02, 0.04), mark="P",
            ),
        ),
    )
}  # fmt: skip
