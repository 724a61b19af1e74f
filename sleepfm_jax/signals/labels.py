"""What a channel label means: its modality and its canonical name.

Look-ups only. The spellings themselves are tables in `aliases`.

Canonical names
    * EEG: the 10-05 name, modern where two exist (T3, T4, T5, T6 -> T7, T8, P7, P8;
      A1, A2 -> M1, M2). A derivation between electrodes keeps both ends in the file's order
      (`C3-M2`, `M2-C3`); a common or linked reference (REF, LE, AVG, M1+M2, ...) is dropped
      (`EEG FP1-REF` -> `Fp1`).
    * EOG: E1 (left), E2 (right), or EOG, EOG1, EOG2, `EOG H`, `EOG V` where the side is not said.
    * ECG: `ECG` for the one lead of a sleep montage, `ECG R`, `ECG2`, ...; I to V6 for named leads.
    * breathing: ABD, THX, AIRFLOW, `NASAL PRESSURE`, THERMISTOR, SNORE, SpO2, PULSE, PPG, CO2, ...
    * EMG: CHIN, `LEG L`, `LEG R`, ...; EMG, EMG1, ... where the muscle is not said.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from sleepfm_jax.signals import aliases

MODALITIES = ("bas", "resp", "ecg", "emg")
OTHER = "other"


@dataclass(frozen=True)
class ChannelIdentity:
    """Canonical name and modality (one of `MODALITIES`, or `OTHER`: kept in the file, not used)."""

    name: str
    modality: str


_ELECTRODES = {name.lower(): name for name in aliases.STANDARD_ELECTRODES}
_ELECTRODES |= {name.lower(): name for name in aliases.EXTRA_ELECTRODES}
_ELECTRODES |= {old.lower(): new for old, new in aliases.ELECTRODE_SYNONYMS.items()}
_LEADS = {
    lead.lower(): lead
    for lead in ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
}
_PATTERNS = [
    (re.compile(pattern), name, modality)
    for modality, table in (("ecg", aliases.ECG_PATTERNS), ("resp", aliases.RESP_PATTERNS))
    for pattern, name in table
]
_MAX_LABEL = 80  # an EDF label has 16 characters
_DASHES = str.maketrans({"‐": "-", "‑": "-", "–": "-", "—": "-", "−": "-"})
# Where a label may be cut into the two ends of a derivation, the surest marks first.
_SEPARATORS = [re.compile(pattern) for pattern in (r"\s*[-:/]\s*", r"_", r"\s+")]
# The sensor types of the EDF+ standard, and POL, which Nihon Kohden writes before every electrode.
_TYPE_PREFIX = re.compile(
    r"(eeg|eog|ecg|ekg|emg|resp|pol|cs)(?:\s*[-:_]\s*|\s+)(.+)", re.IGNORECASE
)


def clean_label(label: str) -> str:
    """The label as written, less outer blanks, trailing dots and commas, control characters."""
    text = unicodedata.normalize("NFKC", label).translate(_DASHES)
    text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split()).rstrip(" .,;")


def _lower(text: str) -> str:
    """Lower case without accents: `Impédance` -> `impedance`."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


def _key(text: str) -> str:
    """Blanks and punctuation removed. `$` stays: Nihon Kohden's `$A1` is not the electrode A1."""
    return re.sub(r"[\s._\-/:(),;'\"#*+\[\]]", "", _lower(text))


@functools.lru_cache(maxsize=4096)
def identify(label: str) -> ChannelIdentity:
    """Canonical name and modality of a channel label; (cleaned label, `other`) if unknown.

    Case, blanks and punctuation do not matter. Nothing is guessed: a label is `other` unless it
    is an electrode or a derivation of two, a spelling of `aliases`, or says its sensor
    type as EDF+ asks (`EMG ...`, `ECG ...`, `EOG ...`). Never raises.
    """
    text = clean_label(label)
    other = ChannelIdentity(text, OTHER)
    if not 0 < len(text) <= _MAX_LABEL or aliases.OTHER_WORDS.search(_lower(text)):
        return other
    found = _known(text)
    if found is None:
        # Exporters number repeated labels (`AIRFLOW-1`) or add a remark (`E1 (LEOG)`).
        for shorter in (re.sub(r"[-_ ]\d$", "", text), re.sub(r"\s*\([^)]*\)?$", "", text)):
            if shorter and shorter != text and (found := _known(shorter)) is not None:
                break
    if found is None and (device := aliases.DEVICE_PREFIX.fullmatch(text)):
        inner = identify(aliases.DEVICE_WORDS.get(device[1].lower(), device[1]))
        found = inner if inner.modality != OTHER else None
    return found or other


def sensor_word(label: str) -> str | None:
    """The modality that a word in a label names (`EMG` in `box2_EMG_raw`), `other` for a word of
    no modality (`position`) and for two that disagree (`EKG1-CHIN`); None where no word names one,
    or where one of two that disagree is EEG or EOG.

    Less than `identify` asks for: of use only against another source, such as a table's type.
    """
    text = _lower(clean_label(label)).replace("_", " ")
    if len(text) <= _MAX_LABEL and aliases.OTHER_WORDS.search(text):
        return OTHER
    words = [(word, word.rstrip("0123456789")) for word in re.findall(r"[a-z]+\d*", text)]
    named = {
        aliases.SENSOR_WORDS[form]
        for forms in words
        for form in forms
        if form in aliases.SENSOR_WORDS
    }
    if len(named) > 1:
        return None if "bas" in named else OTHER
    return next(iter(named), None)


def is_eye(name: str) -> bool:
    """Is a canonical name that of an EOG: an eye, or a derivation of one?"""
    eyes = aliases.EYES.values()
    return name.startswith("EOG") or any(end in eyes for end in name.split("-"))


def _known(text: str) -> ChannelIdentity | None:
    """A whole label: as it stands, then as a derivation, then without its type prefix."""
    if text.upper().replace(" ", "").removeprefix("CHIN") in aliases.NOX_CHIN:
        return ChannelIdentity("CHIN " + text.upper().replace(" ", "").removeprefix("CHIN"), "emg")
    found = _single(text) or _derivation(text)
    if found is not None:
        return found
    prefixed = _TYPE_PREFIX.fullmatch(text)
    if prefixed is None:
        return None
    kind, rest = prefixed[1].lower(), prefixed[2]
    found = _known(rest)
    if found is not None:
        # The type outranks a name that could be two things: `ECG I2` is no inion electrode.
        if kind in ("pol", "cs", "eog") or found.modality == ("ecg" if kind == "ekg" else kind):
            return found
        named_lead = found.modality == "ecg" and found.name in _LEADS.values()
        if kind == "eeg" and not named_lead:  # TUH writes EEG EKG1-REF
            return found
        if found.modality == "resp":  # `ECG HR`
            return found
    if kind in ("ecg", "ekg"):
        return ChannelIdentity(f"ECG {rest.upper()}", "ecg")
    if kind == "emg":
        return ChannelIdentity(f"EMG {rest.upper()}", "emg")
    if kind == "eog":
        return ChannelIdentity(f"EOG {rest.upper()}", "bas")
    return None  # `EEG` alone proves nothing: TUH writes EEG PHOTIC-REF, EEG 28-REF


def _single(text: str) -> ChannelIdentity | None:
    """One sensor, not a derivation."""
    key = _key(text)
    if key in _ELECTRODES:
        return ChannelIdentity(_ELECTRODES[key], "bas")
    if key in aliases.EYES:
        return ChannelIdentity(aliases.EYES[key], "bas")
    if key in aliases.UNPLACED_EEG:
        return ChannelIdentity(aliases.UNPLACED_EEG[key], "bas")
    if lead := aliases.ECG_LEAD.fullmatch(key):
        return ChannelIdentity(_LEADS[lead[1]], "ecg")
    if key in aliases.ECG_OTHER_LEADS:
        return ChannelIdentity(aliases.ECG_OTHER_LEADS[key], "ecg")
    if key in aliases.EMG_EXACT:
        return ChannelIdentity(aliases.EMG_EXACT[key], "emg")
    if emg := re.fullmatch(r"emg(\d{0,2})", key):
        return ChannelIdentity(f"EMG{emg[1]}", "emg")
    # `SA02` with a zero is as common as `SaO2`.
    for variant in dict.fromkeys((key, key.replace("02", "o2"))):
        for pattern, name, modality in _PATTERNS:
            if match := pattern.fullmatch(variant):
                return ChannelIdentity(match.expand(name), modality)
    return _muscle(key)


def _muscle(key: str) -> ChannelIdentity | None:
    match = aliases.EMG_PATTERN.fullmatch(key)
    if match is None:
        return None
    word = match["muscle"]
    told = match["emg"] or match["before"] or match["after"] or match["n"] or key.endswith("emg")
    if word in aliases.WEAK_MUSCLES and not told:
        return None
    side = "".join(aliases.SIDES[match[at]] for at in ("before", "after") if match[at])
    place = side + (match["n"] or "")
    name = aliases.MUSCLES[word]
    if not side:
        name += place
    elif place:
        name += f" {place}"
    return ChannelIdentity(name, "emg")


def _derivation(text: str) -> ChannelIdentity | None:
    """A difference of two sensors, with a separator (`C3-M2`, `FP1:F7`) or without (`C3A2`)."""
    for separators in _SEPARATORS:
        for separator in separators.finditer(text):
            left, right = text[: separator.start()], text[separator.end() :]
            if not left or not right:
                continue
            if (
                separator[0].isspace()
                and _key(right) not in _ELECTRODES.keys() | aliases.REFERENCES
            ):
                continue  # two words are a derivation only if the second can be a reference
            found = _pair(left, right)
            if found is not None:
                return found
    key = _key(text)
    for cut in range(2, len(key) - 1):
        left, right = key[:cut], key[cut:]
        scalp = right in _ELECTRODES or right in aliases.REFERENCES
        if scalp and (left in _ELECTRODES or left in ("e1", "e2", "loc", "roc")):
            return _pair(left, right)
    return None


def _pair(left: str, right: str) -> ChannelIdentity | None:
    first, second = _end(left), _end(right)
    if first is None:
        return None
    if _key(right) in aliases.REFERENCES:
        return first
    if second is None:
        return None
    if first.modality == second.modality == "ecg":
        # two electrodes on the chest are one lead
        return ChannelIdentity("ECG", "ecg")
    if first.modality == second.modality and first.modality in ("bas", "emg"):
        return ChannelIdentity(f"{first.name}-{second.name}", first.modality)
    if first.modality in ("ecg", "emg") and second.name in ("M1", "M2", "Cz", "Fpz"):
        # measured against a scalp electrode of the same amplifier
        return ChannelIdentity(f"{first.name}-{second.name}", first.modality)
    return None


def _end(text: str) -> ChannelIdentity | None:
    """One end of a derivation: an electrode, an eye, an ECG electrode or a muscle."""
    text = re.sub(r"^(?:EEG|EOG|POL)\s+", "", text, flags=re.IGNORECASE)
    if text in ("01", "02"):  # a zero for the letter O; only beside another electrode
        text = "O" + text[1]
    found = _single(text)
    if found is None or found.modality == "resp" or found.name.startswith("EEG"):
        return None
    return found
