"""What each sleep archive records, as a table: labels, what they measure, sampling rate, unit.

From the archives' own descriptions (the montage pages of the NSRR's documentation, PhysioNet's
pages, the DREAMS reports) and from the spellings found in their files. Alternatives are separated
by `|`; one is drawn for each simulated recording.

A measurement is a `kind` of `synthetic_montage`, with the site for EEG and EOG, or one of `EXTRAS`.
Sites are where the simulation has a topography: a mastoid (M1, A1) is written T7 or T8 and Fpz, Oz
the nearest site, which matters for nothing but the look of the waves.
"""

from __future__ import annotations

import numpy as np

from sleepfm_jax.simulation.montage import ChannelPlan

#: Measurements that are not physiology of the simulation: pulse in beats a minute, body position, a
#: constant (light, oximeter status, event marker), body temperature, the envelope of the chin EMG.
EXTRAS = ("pulse", "position", "constant", "temperature", "chin_envelope")

_TABLES = {
    "shhs1": """
        SaO2                            oxygen        1    %
        H.R.                            pulse         1    bpm
        EEG(sec)|EEG sec|EEG(SEC)|EEG2  eeg:C3        125  uV
        ECG                             ecg           125  mV
        EMG                             chin          125  uV
        EOG(L)                          eog_left:E1   50   uV
        EOG(R)                          eog_right:E2  50   uV
        EEG                             eeg:C4        125  uV
        THOR RES                        thorax        10   -
        ABDO RES                        abdomen       10   -
        POSITION                        position      1    -
        LIGHT                           constant      1    -
        NEW AIR|New Air|AIRFLOW         airflow       10   -
        OX stat                         constant      1    -
    """,
    "shhs2": """
        SaO2                            oxygen        1    %
        PR                              pulse         1    BPM
        EEG(sec)|EEG2                   eeg:C3        128  uV
        ECG                             ecg           256  mV
        EMG                             chin          128  uV
        EOG(L)                          eog_left:E1   64   uV
        EOG(R)                          eog_right:E2  64   uV
        EEG                             eeg:C4        128  uV
        AIRFLOW                         airflow       8    -
        THOR RES                        thorax        8    -
        ABDO RES                        abdomen       8    -
        POSITION                        position      1    -
        LIGHT                           constant      1    -
        OX STAT                         constant      1    -
    """,
    "mesa": """
        EKG                             ecg           256  mV|uV
        EOG-L                           eog_left:E1   256  uV
        EOG-R                           eog_right:E2  256  uV
        EMG                             chin          256  uV
        EEG1                            eeg:Fz        256  uV
        EEG2                            eeg:Cz        256  uV
        EEG3                            eeg:C4        256  uV
        Pres                            nasal         32   cmH2O|-
        Flow                            airflow       32   V|-
        Snore                           snore         32   V
        Thor                            thorax        32   V
        Abdo                            abdomen       32   V
        Leg                             leg_left      32   V|Volts
        Therm                           airflow       32   V
        Pos                             position      32   -
        Pleth                           pleth         256  -
        OxStatus                        constant      1    -
        SpO2                            oxygen        1    %
        HR                              pulse         1    bpm
    """,
    "mros1": """
        C3                              eeg:C3        256  uV|mV
        C4                              eeg:C4        256  uV|mV
        A1                              eeg:T7        256  uV|mV
        A2                              eeg:T8        256  uV|mV
        ROC                             eog_right:E2  256  uV|mV
        LOC                             eog_left:E1   256  uV|mV
        ECG L                           ecg           512  mV
        ECG R                           ecg           512  mV
        L Chin                          chin          256  uV|mV
        R Chin                          chin          256  uV|mV
        Leg L|Leg/L                     leg_left      64   mV
        Leg R|Leg/R                     leg_right     64   mV
        Airflow                         airflow       16   -
        SUM                             thorax        16   -
        Thoracic                        thorax        16   -
        Abdominal                       abdomen       16   -
        Cannula Flow|CannulaFlow        nasal         64   -
        SAO2|SaO2                       oxygen        1    %
        HR                              pulse         1    bpm
        STAT                            constant      1    -
        Position                        position      4    -
    """,
    "mros2": """
        C3                              eeg:C3        256  uV
        C4                              eeg:C4        256  uV
        M1                              eeg:T7        256  uV
        M2                              eeg:T8        256  uV
        E1                              eog_left:E1   256  uV
        E2                              eog_right:E2  256  uV
        ECG L                           ecg           512  mV
        ECG R                           ecg           512  mV
        L Chin                          chin          256  uV
        R Chin                          chin          256  uV
        Leg L                           leg_left      64   mV
        Leg R                           leg_right     64   mV
        Airflow                         airflow       32   -
        SUM                             thorax        32   -
        Chest                           thorax        32   -
        ABD                             abdomen       32   -
        Cannula Flow                    nasal         64   -
        SpO2                            oxygen        1    %
        HR                              pulse         1    bpm
        STAT                            constant      1    -
        Position                        position      4    -
    """,
    "cfs": """
        C3                              eeg:C3        128  uV
        C4                              eeg:C4        128  uV
        A1|M1                           eeg:T7        128  uV
        A2|M2                           eeg:T8        128  uV
        LOC                             eog_left:E1   128  uV
        ROC                             eog_right:E2  128  uV
        ECG2                            ecg           256  mV
        ECG1                            ecg           256  mV
        EMG1                            chin          256  uV
        EMG2                            chin          256  uV
        EMG3                            chin          256  uV
        L Leg                           leg_left      64   uV
        R Leg                           leg_right     64   uV
        AIRFLOW                         airflow       32   V
        THOR EFFORT                     thorax        32   V
        ABDO EFFORT                     abdomen       32   V
        SUM                             thorax        32   V
        SNORE                           snore         256  V
        POSITION                        position      1    -
        OX STATUS                       constant      1    -
        PULSE                           pulse         1    bpm
        SpO2                            oxygen        1    %
        NASAL PRES                      nasal         64   V
        PlethWV                         pleth         128  V
    """,
    "chat": """
        E1                              eog_left:E1   200  uV
        E2                              eog_right:E2  200  uV
        F3                              eeg:F3        200  uV
        F4                              eeg:F4        200  uV
        C3                              eeg:C3        200  uV
        C4                              eeg:C4        200  uV
        T3                              eeg:T7        200  uV
        T4                              eeg:T8        200  uV
        O1                              eeg:O1        200  uV
        O2                              eeg:O2        200  uV
        M1                              eeg:T7        200  uV
        M2                              eeg:T8        200  uV
        Lchin                           chin          200  uV
        Rchin                           chin          200  uV
        Cchin                           chin          200  uV
        ECG1                            ecg           200  uV|mV
        ECG2                            ecg           200  uV|mV
        ECG3                            ecg           200  uV|mV
        RLeg1|RAT                       leg_right     200  uV
        LLeg1|LAT                       leg_left      200  uV
        Airflow|AIRFLOW|Flow            airflow       32   uV|V
        Cannula Flow|CannulaFlow|PTAF   nasal         128  uV|V
        Chest|CHEST|THOR|Thorax         thorax        32   uV|V
        ABD|ABDO|Abdomen                abdomen       32   uV|V
        SUM|Sum                         thorax        32   uV
        SpO2|SAO2                       oxygen        10   %
        Pleth|PlethMasimo|PLETH         pleth         128  V
        Position|POSITION|Body          position      1    -
        CAP                             airflow       32   -
        EtCO2|ETCO2                     airflow       16   -
        Snore|SNORE                     snore         200  uV
    """,
    "wsc_comet": """
        E1                              eog_left:E1   200  uV
        E2                              eog_right:E2  200  uV
        F3_M2                           eeg:F3        200  uV
        Fz_M2                           eeg:Fz        200  uV
        Cz_M2                           eeg:Cz        200  uV
        C3_M2                           eeg:C3        200  uV
        Pz_M2                           eeg:Pz        200  uV
        O1_M2                           eeg:O1        200  uV
        cchin_l                         chin          200  uV
        lleg_r                          leg_left      200  uV
        ECG                             ecg           200  uV
        snore                           snore         200  uV
        flow                            airflow       200  uV
        nas_pres                        nasal         200  uV
        thorax                          thorax        200  uV
        abdomen                         abdomen       200  uV
        sum                             thorax        200  uV
        position                        position      200  -
        spo2                            oxygen        200  %
    """,
    "wsc_heritage": """
        E1                              eog_left:E1   100  uV
        E2                              eog_right:E2  100  uV
        C3_M2                           eeg:C3        100  uV
        O1_M2                           eeg:O1        100  uV
        chin                            chin          100  uV
        lleg_r                          leg_left      100  uV
        snore                           snore         100  uV
        ECG                             ecg           100  uV
        nasalflow                       airflow       100  uV
        oralflow                        airflow       100  uV
        nas_pres                        nasal         100  uV
        thorax                          thorax        100  uV
        abdomen                         abdomen       100  uV
        sum                             thorax        100  uV
        position                        position      100  -
        spo2                            oxygen        100  %
    """,
    "ccshs": """
        C3                              eeg:C3        128  uV
        C4                              eeg:C4        128  uV
        A1                              eeg:T7        128  uV
        A2                              eeg:T8        128  uV
        LOC                             eog_left:E1   128  uV
        ROC                             eog_right:E2  128  uV
        EMG1                            chin          256  uV
        EMG2                            chin          256  uV
        EMG3                            chin          256  uV
        ECG1                            ecg           256  mV
        ECG2                            ecg           256  mV
        ABDO EFFORT                     abdomen       32   V
        THOR EFFORT                     thorax        32   V
        SUM                             thorax        32   V
        SpO2                            oxygen        1    %
        AIRFLOW                         airflow       32   V
        SNORE                           snore         256  V
        NASAL PRES                      nasal         64   V
        LEFT LEG1                       leg_left      256  uV
        RIGHT LEG1                      leg_right     256  uV
        POSITION                        position      1    -
        PULSE                           pulse         1    bpm
        OX STATUS                       constant      1    -
        PlethWV                         pleth         128  V
        Light                           constant      1    -
        HRate                           pulse         1    bpm
    """,
    "sleep_edf_sc": """
        EEG Fpz-Cz                      eeg:Fz        100  uV
        EEG Pz-Oz                       eeg:Pz        100  uV
        EOG horizontal                  eog_left:E1   100  uV
        Resp oro-nasal                  airflow       1    -
        EMG submental                   chin_envelope 1    uV
        Temp rectal                     temperature   1    DegC
        Event marker                    constant      1    -
    """,
    "sleep_edf_st": """
        EEG Fpz-Cz                      eeg:Fz        100  uV
        EEG Pz-Oz                       eeg:Pz        100  uV
        EOG horizontal                  eog_left:E1   100  uV
        EMG submental                   chin          100  uV
        Marker                          constant      1    -
    """,
    "dreams": """
        O1-A1                           eeg:O1        200|100|50  uV
        EMG1                            chin          200|100|50  uV
        ECG                             ecg           200|100|50  mV
        NAF1|NAF2                       airflow       200|100|50  uV
        VAB                             abdomen       200|100|50  -
        VTH                             thorax        200|100|50  -
        C3-A1|CZ-A1                     eeg:C3        200|100|50  uV
        FP1-A1|FP1-A2                   eeg:Fp1       200|100|50  uV
        EOG2-A1|EOG2-A2                 eog_right:E2  200|100|50  uV
        EOG1-A1|EOG1-A2                 eog_left:E1   200|100|50  uV
        POS                             position      200|100|50  -
        PHONO                           snore         200|100|50  uV
        SAO2                            oxygen        200|100|50  %
        PR                              pulse         200|100|50  BPM
    """,
    "cinc2018": """
        F3-M2                           eeg:F3        200  uV
        F4-M1                           eeg:F4        200  uV
        C3-M2                           eeg:C3        200  uV
        C4-M1                           eeg:C4        200  uV
        O1-M2                           eeg:O1        200  uV
        O2-M1                           eeg:O2        200  uV
        E1-M2                           eog_left:E1   200  uV
        Chin1-Chin2                     chin          200  uV
        ABD                             abdomen       200  uV
        CHEST                           thorax        200  uV
        AIRFLOW                         airflow       200  uV
        SaO2                            oxygen        200  %
        ECG                             ecg           200  mV
    """,
}
MONTAGES = tuple(_TABLES)


def draw_archive_montage(name: str, rng: np.random.Generator) -> tuple[ChannelPlan, ...]:
    """Channels of one recording of a montage in the table.

    One column of alternatives is drawn for units and one for rates, so that a recording keeps to
    its amplifier's; a label is drawn for each channel.
    """
    unit_draw, rate_draw = rng.random(2)
    plans = []
    for line in _TABLES[name].strip().splitlines():
        # a label may hold single blanks; the three columns behind it hold none
        labels, measured, rates, units = line.strip().rsplit(maxsplit=3)
        kind, _, site = measured.partition(":")
        unit = _pick(units, unit_draw)
        plans.append(
            ChannelPlan(
                _pick(labels.strip(), rng.random()),
                kind,
                int(_pick(rates, rate_draw)),
                "" if unit == "-" else unit,
                site,
            )
        )
    return tuple(plans)


def _pick(alternatives: str, draw: float) -> str:
    """One of the alternatives, the first with a chance of a half: it is the standard."""
    options = alternatives.split("|")
    index = max(0.0, 2 * draw - 1) * len(options)
    return options[int(index)].strip()
