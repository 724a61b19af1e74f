"""How archives spell their channels: tables only, read by `signals.identify`.

Every pattern is matched in full against a *key*: the label in lower case, accents removed, with
every blank and every mark of punctuation gone (`EOG(L)` -> `eogl`, `Leg/L` -> `legl`). The
spellings are those of the NSRR cohorts (SHHS, MESA, MrOS, CFS, CHAT, CCSHS, WSC, MNC), Sleep-EDF,
CinC 2018, CHB-MIT, TUH, DREAMS, the Nox A1 and the distinct names in SleepFM's published channel
groups.
"""

from __future__ import annotations

import re

# --- electrodes -----------------------------------------------------------------------------------

# The 10-05 system row by row (343 electrodes, the names of MNE's 10-05 montage): rows -> positions.
_ROWS: tuple[tuple[str, str], ...] = (
    ("Fp O I OI", "1 2 z 1h 2h"),
    (
        "AF F P PO AFp AFF PPO POO",
        "1 2 3 4 5 6 7 8 9 10 z 1h 2h 3h 4h 5h 6h 7h 8h 9h 10h",
    ),
    ("FT TP FFT FTT TTP TPP", "7 8 9 10 7h 8h 9h 10h"),
    ("FC C CP FFC FCC CCP CPP", "1 2 3 4 5 6 z 1h 2h 3h 4h 5h 6h"),
    ("T", "7 8 9 10 7h 8h 9h 10h"),
    ("M", "1 2"),
)
STANDARD_ELECTRODES: frozenset[str] = frozenset(
    row + place for rows, places in _ROWS for row in rows.split() for place in places.split()
)
# Older names of the same place. The modern name is the canonical one.
ELECTRODE_SYNONYMS: dict[str, str] = {
    "T3": "T7",
    "T4": "T8",
    "T5": "P7",
    "T6": "P8",
    "A1": "M1",
    "A2": "M2",
    "CZ2": "Cz",  # DREAMS, patients
}
# Electrodes of clinical EEG outside the 10-05 system: known, but without a position.
EXTRA_ELECTRODES: frozenset[str] = frozenset(
    ["T1", "T2", "SP1", "SP2", "PG1", "PG2", "CB1", "CB2", "CS2"]
)
# Eyes. E1 and LOC are the left outer canthus, E2 and ROC the right one.
EYES: dict[str, str] = {
    **dict.fromkeys(
        ["e1", "loc", "leog", "eogl", "eogleft", "lefteog", "eogloc", "eoge1", "lefteye"], "E1"
    ),
    **dict.fromkeys(
        ["e2", "roc", "reog", "eogr", "eogright", "righteog", "eogroc", "eoge2", "righteye"], "E2"
    ),
    "eog": "EOG",
    "eog1": "EOG1",
    "eog2": "EOG2",
    **dict.fromkeys(["eogh", "heog", "eoghorizontal", "horizontaleog"], "EOG H"),
    **dict.fromkeys(["eogv", "veog", "eogvertical", "verticaleog"], "EOG V"),
    "luc": "LUC",
    "rlc": "RLC",
    "llc": "LLC",
    "ruc": "RUC",
}
# What stands after the hyphen without being an electrode: a common or linked reference.
REFERENCES: frozenset[str] = frozenset(
    [
        "ref",
        "le",
        "av",
        "avg",
        "ave",
        "average",
        "ar",
        "car",
        "x",
        "lm",
        "lme",
        "mavg",
        "linked",
        "linkedears",
        "linkedmastoids",
        "m1m2",
        "m2m1",
        "a1a2",
        "a2a1",
        "m1m22",
        "a1a22",
    ]
)
# EEG whose electrode the archive does not name in the label.
UNPLACED_EEG: dict[str, str] = {
    "eeg": "EEG",
    "eeg1": "EEG1",
    "eeg2": "EEG2",
    "eeg3": "EEG3",
    "eegsec": "EEG2",  # SHHS: the second EEG, C3-A2
}

# --- electrocardiogram ----------------------------------------------------------------------------

_ECG_PREFIX = r"(?:rip)?(?:ecg|ekg)(?:ecg|ekg|lead)*"
ECG_PATTERNS: tuple[tuple[str, str], ...] = (
    (rf"{_ECG_PREFIX}(?:1|l|left|12|le|ref|lr|1ec)?", "ECG"),
    (rf"{_ECG_PREFIX}(?:ecg|ekg)?(?:l|1)(?:ecg|ekg)(?:r|2)", "ECG"),
    (rf"{_ECG_PREFIX}(?:r|right)", "ECG R"),
    (rf"{_ECG_PREFIX}([2-9])", r"ECG\1"),
)
ECG_LEAD = re.compile(rf"(?:{_ECG_PREFIX}|lead|leadecg)?(i{{1,3}}|av[rlf]|v[1-6])")
ECG_OTHER_LEADS: dict[str, str] = {
    "di": "I",
    "dii": "II",
    "diii": "III",
    "mli": "MLI",
    "mlii": "MLII",
    "mliii": "MLIII",
    "mcl1": "MCL1",
    **dict.fromkeys(("vx", "frankx", "xfrank"), "FRANK X"),  # PTB's orthogonal leads
    **dict.fromkeys(("vy", "franky", "yfrank"), "FRANK Y"),
    **dict.fromkeys(("vz", "frankz", "zfrank"), "FRANK Z"),
}

# --- breathing, oximetry, pulse -------------------------------------------------------------------

_BELT_BEFORE = r"(?:p|rip|resp|effort|belt)?"
_BELT_AFTER = r"(?:res|resp|rip|effort|eff|belt|dc|movement|respiration)?"
_ABD = r"(?:abd|abdo|abdom|abdomen|abdominal|abdomin|abdm|vab)"
_THX = r"(?:tho|thx|thor|thora|thoraco|thorax|thoracic|thoracal|chest|ribcage|vth)"
_MAKER = r"(?:masimo|masino|nonin|ninon|noin|nellcor|external|sentec|cu)"
RESP_PATTERNS: tuple[tuple[str, str], ...] = (
    (rf"{_BELT_BEFORE}{_ABD}{_BELT_AFTER}\d?", "ABD"),
    (rf"{_BELT_BEFORE}{_THX}{_BELT_AFTER}\d?", "THX"),
    (rf"{_ABD}(?:cal|calibrated)", "ABD CALIBRATED"),
    (rf"{_THX}(?:cal|calibrated)", "THX CALIBRATED"),
    (rf"(?:inductance{_ABD}|{_ABD}inductance)", "ABD INDUCTANCE"),
    (rf"(?:inductance{_THX}|{_THX}inductance)", "THX INDUCTANCE"),
    (r"(?:sum|ripsum|sumrips?|xsum|effortsum|sumeffort)", "RIP SUM"),
    (r"ripsum(?:cal|calibrated)", "RIP SUM CALIBRATED"),
    (r"(?:ripflow|xflow)", "RIP FLOW"),
    (r"ripflow(?:cal|calibrated)", "RIP FLOW CALIBRATED"),
    (r"ripphase", "RIP PHASE"),
    (
        r"(?:flow|airflow|airlfow|air|newair|newaf|newa|newairflow|resp(?:air)?flow|naf\d?|nasor|"
        r"nasalor|nasaloral|oronasal|resporonasal|oronasalflow|oral|oralflow|flowpatient)\d?",
        "AIRFLOW",
    ),
    (r"(?:cpapflow|papflow|pflow|cflow|maskflow|pneumflow)", "PAP FLOW"),
    (r"nasal(?:dc|ac|flow|airflow|backup)?\d?", "NASAL FLOW"),  # by cannula or thermistor: not said
    (
        r"(?:nasal(?:p|pr|pres|press|pressure|cannula)|nas?p(?:res|ress|ressure)|"
        r"npres|npress|napr|ptaf|npaf|pnasal|pres|cann+ula(?:flow|fow|pressure|pres)?|prongs?)\d?",
        "NASAL PRESSURE",
    ),
    (
        r"(?:nasal|oral|nasaloral|oronasal|trach|flow)?"
        r"(?:ther|therm|thermal|thermist|thermistor|thermocouple)(?:flow)?\d?",
        "THERMISTOR",
    ),
    (
        rf"(?:(?:p|pressure|nasal)?(?:snor|snore|snoring)|nasalsn|mic|microphone|phono)"
        rf"(?:db|g|\d|\da|{_MAKER})?",
        "SNORE",
    ),
    (r"spo2(?:bb|beat|beattobeat)", "SpO2 BEAT"),
    (
        rf"(?:tc|sentec)?(?:spo2?|sao2|sat|saturation|o2sat|oxygensaturation|spo2sat)\d?{_MAKER}?",
        "SpO2",
    ),
    (rf"o2{_MAKER}", "SpO2"),
    (rf"(?:pr|pulserate|pulsera|pulser){_MAKER}?", "PULSE RATE"),
    (rf"(?:hr|dhr|hrate|heartrate|heartr){_MAKER}?", "HEART RATE"),
    (rf"(?:tosca)?(?:pulse|pluse)\d?{_MAKER}?", "PULSE"),
    (
        rf"(?:finger|tc|sentec)?(?:ppg|pleth|plet|plethwv|plesmo|plethysmo(?:gram|graph|graphy)?|pwf|"
        rf"pulsewave(?:form)?)\d?{_MAKER}?",
        "PPG",
    ),
    (r"(?:et|tc|bciet|sentec|oral|endtidal)?co2|capno(?:gram|graphy)?|sentecco2", "CO2"),
    (r"flowlim(?:itation)?", "FLOW LIMITATION"),
    (r"resp(?:iratory)?rate", "RESP RATE"),
    (r"resp(?:iration)?\d?", "RESP"),
)

# --- muscles --------------------------------------------------------------------------------------

MUSCLES: dict[str, str] = {
    **dict.fromkeys(["chin", "chiin", "submental", "submentalis", "mentalis"], "CHIN"),
    **dict.fromkeys(["leg", "legs", "limb", "limbs", "jambe"], "LEG"),
    **dict.fromkeys(
        ["tib", "tibialis", "tibial", "tibant", "anttib", "tibialisanterior", "anteriortibialis"],
        "LEG",
    ),
    **dict.fromkeys(["arm", "arms"], "ARM"),
    **dict.fromkeys(["foot", "feet"], "FOOT"),
    **dict.fromkeys(["mass", "masseter", "massater", "masset", "massete"], "MASSETER"),
    "temporalis": "TEMPORALIS",
    **dict.fromkeys(["ric", "intercostal", "inter"], "INTERCOSTAL"),
    **dict.fromkeys(["flexor", "flex"], "FLEXOR"),
    **dict.fromkeys(["extensor", "ext"], "EXTENSOR"),
    "scm": "SCM",
    "scalene": "SCALENE",
}
SIDES: dict[str, str] = {
    **dict.fromkeys(["l", "left", "gauche"], "L"),
    **dict.fromkeys(["r", "right", "droite"], "R"),
    **dict.fromkeys(["c", "ctr", "center", "centre"], "C"),
    "a": "A",
}
_SIDE = "|".join(sorted(SIDES, key=len, reverse=True))
_MUSCLE = "|".join(sorted(MUSCLES, key=len, reverse=True))
# side, muscle and number in the orders found: `LLEG1`, `Leg L`, `Right Masseter 1`, `EMG Chin`,
# `Chin2 EMG`.
EMG_PATTERN = re.compile(
    rf"(?P<emg>emg)?(?P<before>{_SIDE})?(?P<muscle>{_MUSCLE})(?:emg)?(?P<after>{_SIDE})?(?P<n>\d{{1,2}})?(?:emg)?"
)
# Words too short or too common to mean a muscle unless EMG, a side or a number stands with them.
WEAK_MUSCLES: frozenset[str] = frozenset(["inter", "ext", "flex", "mass", "tib", "limb", "limbs"])
# Labels that fit no rule, with what the archive's documentation says they are.
EMG_EXACT: dict[str, str] = {
    "lat": "LEG L",  # CHAT: left and right anterior tibialis
    "rat": "LEG R",
    "cchinl": "CHIN C-CHIN L",  # WSC and MNC: linked pairs
    "cchinr": "CHIN C-CHIN R",
    "rchinl": "CHIN R-CHIN L",
    "lchinr": "CHIN L-CHIN R",
    "rchinc": "CHIN R-CHIN C",
    "lchinc": "CHIN L-CHIN C",
    "llegr": "LEG L-LEG R",
    "rlegl": "LEG R-LEG L",
    "chin1c": "CHIN1-CHIN C",
    "chin2c": "CHIN2-CHIN C",
    "masslr": "MASSETER L-MASSETER R",
    **dict.fromkeys(("lemg", "emgl"), "EMG L"),
    **dict.fromkeys(("remg", "emgr"), "EMG R"),
    "lleg12": "LEG L1-LEG L2",
    "rleg12": "LEG R1-LEG R2",
}
# Nox A1: 1, 2 and F are the chin electrodes; their derivations are the chin EMG, each alone is
# unreferenced.
NOX_CHIN: frozenset[str] = frozenset({"1-2", "1-F", "2-F"})

# --- devices and sensors --------------------------------------------------------------------------

# What stands before a label where two devices recorded one night (Bitbrain's ds005555): the
# polysomnograph and the headband, whose own channels are numbers.
DEVICE_PREFIX = re.compile(r"(?:psg|hb)[_ ]+(?=[a-z])(.+)", re.IGNORECASE)
# Short words that only such a prefix makes clear.
DEVICE_WORDS: dict[str, str] = {"can": "cannula"}
# Words that name a sensor wherever they stand in a label, with its modality. For labels that are
# known by no other rule, so no word that may be a part of something else (`air`, `nasal`, `lat`).
SENSOR_WORDS: dict[str, str] = {
    **dict.fromkeys(("eeg", "eog", "heog", "veog"), "bas"),
    **dict.fromkeys(("ecg", "ekg"), "ecg"),
    **dict.fromkeys(("emg", "chin", "submental", "tibialis", "masseter", "leg", "legs"), "emg"),
    **dict.fromkeys(("thor", "thorax", "thoracic", "abd", "abdo", "abdomen", "abdominal"), "resp"),
    **dict.fromkeys(("resp", "respiration", "effort", "belt", "rip", "flow", "airflow"), "resp"),
    **dict.fromkeys(("ther", "therm", "thermistor", "thermocouple", "cannula"), "resp"),
    **dict.fromkeys(("snore", "snoring", "spo2", "sao2", "co2", "etco2", "pleth", "ppg"), "resp"),
    "pulse": "resp",
}

# --- kept, not used -------------------------------------------------------------------------------

# Searched for anywhere in the label (lower case, accents removed) before anything else is tried.
OTHER_WORDS = re.compile(
    r"\bimp|pos(?:ition|tion|tition|iton|angle|dc)|\bpos\b|\bgravity|\blight|\blux\b|batter|voltage|\baudio|\bvolume|"
    r"event|hypno|\bstat(?:us)?\b|\btrig|\bmarker|\bmarkers|annotation|\baxis\b|\bacc\d?\b|accel|"
    r"elevation|activity|\btemp\b|temperature|bluetooth|photic|gyro|\bstim\b|counter|button|\bleak\b"
)
