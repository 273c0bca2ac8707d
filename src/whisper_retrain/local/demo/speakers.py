"""Who reads the demo's sentences: each speaker's voice, manner and microphone.

A "speaker" is a synthesizer's voice with a speed, pitch, noise and native sample rate of its own,
as the recordings of many people would come from many phones. Test speakers have eSpeak NG accents
or variants that no other speaker has. Ids are arbitrary numbers, as in the real dataset.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Speaker:
    """One voice with its microphone."""

    id: int
    """As the dataset has it."""
    engine: Literal["espeak", "piper"]
    """Which synthesizer speaks."""
    voice: str
    """eSpeak NG: language and variant. Piper: the name of the one voice there is."""
    words_per_minute: int
    """Speed."""
    pitch: int
    """eSpeak NG's 0-100; Piper has none."""
    snr_db: float
    """How loud the noise is."""
    noise_slope: float
    """Power of the noise falls with frequency to this power: 0 white, 1 pink, 2 rumble."""
    rate_hz: int
    """Native sample rate of the recordings."""


def _espeak(id_: int, voice: str, wpm: int, pitch: int, noise: tuple[float, float, int]) -> Speaker:
    return Speaker(id_, "espeak", voice, wpm, pitch, *noise)


def _piper(id_: int, wpm: int, noise: tuple[float, float, int]) -> Speaker:
    return Speaker(id_, "piper", "en_US-joe-medium", wpm, 50, *noise)


TRAIN_SPEAKERS = (
    _piper(10417302, 175, (40, 1, 22_050)),
    _piper(20883519, 205, (28, 0, 8_000)),
    _espeak(27306441, "en-us+m2", 150, 45, (30, 2, 16_000)),
    _espeak(31650774, "en-us", 150, 45, (35, 1, 44_100)),
    _espeak(33921186, "en+f2", 160, 55, (35, 2, 22_050)),
    _espeak(37743008, "en+m3", 140, 40, (25, 1, 16_000)),
    _espeak(40285661, "en-029+f4", 145, 60, (35, 0, 22_050)),
    _espeak(42219935, "en-us-nyc+m7", 155, 35, (25, 2, 48_000)),
    _espeak(43379481, "en-gb-x-gbcwmd+m1", 150, 50, (35, 1, 16_000)),
    _espeak(45540126, "en-us+klatt4", 145, 50, (35, 1, 22_050)),
    _espeak(49120583, "en-us+f5", 165, 50, (30, 1, 16_000)),
)
VALIDATION_SPEAKERS = (
    _espeak(51884207, "en+Annie", 150, 50, (30, 1, 22_050)),
    _espeak(53307714, "en-us-nyc+m5", 155, 55, (30, 0, 16_000)),
)
TEST_SPEAKERS = (
    _espeak(60012945, "en-gb-x-rp", 150, 45, (30, 1, 22_050)),
    _espeak(60480731, "en-gb-x-rp+f4", 155, 55, (35, 1, 16_000)),
    _espeak(61459370, "en-gb-scotland", 145, 50, (35, 2, 44_100)),
    _espeak(62217096, "en-gb-scotland+m6", 150, 40, (30, 2, 22_050)),
    _espeak(63150844, "en-us+Gene", 145, 50, (35, 1, 48_000)),
    _espeak(63929418, "en-029+m6", 150, 45, (30, 0, 16_000)),
    _espeak(64478812, "en-gb-x-gbclan", 140, 40, (30, 1, 16_000)),
    _espeak(65031277, "en-gb-x-gbclan+f1", 150, 60, (35, 1, 44_100)),
    _espeak(65774903, "en+Lee", 155, 50, (30, 1, 22_050)),
    _espeak(66102558, "en-us+f3", 150, 55, (30, 0, 22_050)),
    _espeak(67008236, "en-us+anika", 150, 55, (30, 2, 16_000)),
    _espeak(67735090, "en-us+Reed", 155, 50, (30, 1, 48_000)),
    _espeak(68316590, "en-gb-x-gbcwmd+benjamin", 145, 45, (35, 0, 22_050)),
    _espeak(69105864, "en-us-nyc+Mario", 150, 45, (40, 1, 16_000)),
    _espeak(69921143, "en+belinda", 145, 50, (40, 1, 8_000)),
    _espeak(91000000, "en-us+Alicia", 140, 40, (28, 0, 16_000)),
    _espeak(91000001, "en+Andy", 147, 45, (35, 1, 22_050)),
    _espeak(91000002, "en-gb-x-rp+Diogo", 154, 50, (40, 2, 44_100)),
    _espeak(91000003, "en-gb-scotland+Henrique", 161, 55, (28, 0, 8_000)),
    _espeak(91000004, "en-gb-x-gbclan+Hugo", 168, 60, (35, 1, 16_000)),
    _espeak(91000005, "en-029+Marco", 145, 40, (40, 2, 22_050)),
    _espeak(91000006, "en-us+Mike", 152, 45, (28, 0, 44_100)),
    _espeak(91000007, "en+Nguyen", 159, 50, (35, 1, 8_000)),
    _espeak(91000008, "en-gb-x-rp+antonio", 166, 55, (40, 2, 16_000)),
    _espeak(91000009, "en-gb-scotland+boris", 143, 60, (28, 0, 22_050)),
    _espeak(91000010, "en-gb-x-gbclan+ed", 150, 40, (35, 1, 44_100)),
    _espeak(91000011, "en-029+gustave", 157, 45, (40, 2, 8_000)),
    _espeak(91000012, "en-us+ian", 164, 50, (28, 0, 16_000)),
    _espeak(91000013, "en+john", 141, 55, (35, 1, 22_050)),
    _espeak(91000014, "en-gb-x-rp+miguel", 148, 60, (40, 2, 44_100)),
)
EVERYDAY_SPEAKERS = TEST_SPEAKERS[:15]
"""Who reads everyday speech, too."""
NEW_SPEAKERS = (
    _espeak(70556218, "en+m5", 160, 45, (28, 1, 32_000)),
    _espeak(71280934, "en-gb-x-rp+m3", 145, 45, (35, 1, 16_000)),
    _espeak(71915503, "en-gb-scotland+f3", 150, 55, (30, 1, 22_050)),
    _espeak(72344817, "en-gb-x-gbclan+m4", 150, 40, (35, 0, 44_100)),
    _espeak(72840399, "en-gb-x-gbcwmd+f4", 150, 55, (30, 2, 22_050)),
    _espeak(73106620, "en-029+m2", 155, 45, (30, 1, 16_000)),
    _espeak(73650291, "en+f4", 145, 55, (40, 1, 48_000)),
    _espeak(74488165, "en-us+m6", 160, 40, (28, 2, 8_000)),
)
"""Heard for the first time in drop 2."""

SPEAKERS = {
    speaker.id: speaker
    for speaker in TRAIN_SPEAKERS + VALIDATION_SPEAKERS + TEST_SPEAKERS + NEW_SPEAKERS
}
DEMO_TEST_SPEAKERS = tuple(speaker.id for speaker in TEST_SPEAKERS)
DEMO_VALIDATION_SPEAKERS = tuple(speaker.id for speaker in VALIDATION_SPEAKERS)
