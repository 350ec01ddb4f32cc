"""Phantom laboratory values: 50 blood tests that depend on the findings, on the patient's organs, and on chance."""

from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cxrbench.data.datasets.symile import LABS
from cxrbench.phantom.findings import AORTA, CARDIOMEGALY, EFFUSION, FIBROSIS, NODULE, OPACITY, PNEUMOTHORAX

# How far a finding at grade 1 moves a test, in standard deviations of the healthy, before STRENGTH.
EFFECTS: Mapping[str, Mapping[str, float]] = {
    OPACITY: {"White Blood Cells": 1.7, "Neutrophils": 1.4, "Absolute Neutrophil Count": 1.7, "Lymphocytes": -1.3,
              "Immature Granulocytes": 1.3, "Lactate": 0.9, "pO2": -1.0, "Albumin": -0.5, "Eosinophils": -0.5,
              "Platelet Count": 0.4, "Absolute Lymphocyte Count": -0.5},
    EFFUSION: {"Albumin": -1.5, "Sodium": -1.0, "Alkaline Phosphatase": 0.8, "Bilirubin, Total": 0.8, "pO2": -0.5,
               "Calcium, Total": -0.9, "Urea Nitrogen": 0.6, "INR(PT)": 0.6, "PT": 0.6},
    CARDIOMEGALY: {"Creatinine": 1.2, "Urea Nitrogen": 1.4, "RDW": 0.9, "RDW-SD": 0.9, "Magnesium": 0.4, "Sodium": -0.5,
                   "Potassium": 0.5, "Creatine Kinase (CK)": 0.5, "Phosphate": 0.5, "Hemoglobin": -0.5,
                   "Hematocrit": -0.5},
    PNEUMOTHORAX: {"pCO2": 1.6, "pH": -1.4, "pO2": -1.4, "Lactate": 0.7, "Calculated Total CO2": 0.9, "Glucose": 0.5},
    FIBROSIS: {"pO2": -1.4, "Bicarbonate": 0.9, "Calculated Total CO2": 1.0, "pCO2": 0.7, "Hematocrit": 0.8,
               "Hemoglobin": 0.8, "Red Blood Cells": 0.8},
    NODULE: {"Calcium, Total": 1.3, "Platelet Count": 1.2, "Hemoglobin": -0.9, "Hematocrit": -0.9,
             "Red Blood Cells": -0.7, "Albumin": -0.5},
    AORTA: {"Creatinine": 0.4, "Glucose": 0.3},
}  # fmt: skip
STRENGTH = 1.5
# What any acute illness does, whatever its name, per unit of grade; lung, pleura and heart count.
ILLNESS = {"Albumin": -0.7, "Hemoglobin": -0.5, "Hematocrit": -0.5, "Red Blood Cells": -0.5, "RDW": 0.6, "RDW-SD": 0.6,
           "Glucose": 0.6, "INR(PT)": 0.5, "PT": 0.5, "PTT": 0.4, "Lymphocytes": -0.6, "Neutrophils": 0.5,
           "Anion Gap": 0.4, "Base Excess": -0.6, "Bicarbonate": -0.4, "Calcium, Total": -0.6, "Magnesium": 0.3,
           "Eosinophils": -0.5, "Absolute Eosinophil Count": -0.5, "Alkaline Phosphatase": 0.4,
           "Asparate Aminotransferase (AST)": 0.5}  # fmt: skip
# Tests that move together for reasons that no image shows; values are loadings.
PANELS: tuple[Mapping[str, float], ...] = (
    {"Creatinine": 0.7, "Urea Nitrogen": 0.7, "Phosphate": 0.5, "Potassium": 0.4, "Bicarbonate": -0.4},
    {"Hematocrit": 0.9, "Hemoglobin": 0.9, "Red Blood Cells": 0.85, "RDW": -0.4},
    {"MCV": 0.9, "MCH": 0.85, "MCHC": 0.2, "RDW-SD": 0.4},
    {"RDW": 0.7, "RDW-SD": 0.7},
    {"Alanine Aminotransferase (ALT)": 0.85, "Asparate Aminotransferase (AST)": 0.85, "Bilirubin, Total": 0.5,
     "Alkaline Phosphatase": 0.5},
    {"INR(PT)": 0.95, "PT": 0.95, "PTT": 0.6},
    {"Sodium": 0.6, "Chloride": 0.8, "Bicarbonate": -0.4},
    {"White Blood Cells": 0.7, "Absolute Neutrophil Count": 0.75, "Neutrophils": 0.5, "Lymphocytes": -0.5,
     "Monocytes": -0.2},
    {"Lactate": 0.6, "Anion Gap": 0.7, "pH": -0.6, "Base Excess": -0.8, "Bicarbonate": -0.5},
    {"Eosinophils": 0.85, "Absolute Eosinophil Count": 0.9},
    {"Basophils": 0.8, "Absolute Basophil Count": 0.85},
    {"Monocytes": 0.7, "Absolute Monocyte Count": 0.85},
    {"Lymphocytes": 0.5, "Absolute Lymphocyte Count": 0.8},
    {"H": 0.6, "L": 0.6, "I": 0.6},
)  # fmt: skip
# Share of patients who have a test at all; all others 0.97. Blood gases and lactate are taken from the ill.
COVERAGE = {"Albumin": 0.5, "Creatine Kinase (CK)": 0.35, "Immature Granulocytes": 0.3, "H": 0.1, "L": 0.1, "I": 0.1}
LIVER = "Alanine Aminotransferase (ALT)", "Asparate Aminotransferase (AST)", "Alkaline Phosphatase", "Bilirubin, Total"
GASES = "Base Excess", "Calculated Total CO2", "pCO2", "pH", "pO2"
DIFFERENTIAL = tuple(
    name
    for name in LABS.values()
    if name.startswith("Absolute") or (name.endswith(("phils", "cytes")) and " " not in name)
)
NAMES = tuple(LABS.values())


def labs(grades: Mapping[str, float], rng: Generator) -> NDArray[np.float64]:
    """One patient's 50 tests as healthy-population standard scores, NaN where a test was not made.

    Which tests are made depends on the findings too: tests that come in one tube are made together.
    """
    column = {name: n for n, name in enumerate(NAMES)}
    values, shared = np.zeros(len(NAMES)), np.zeros(len(NAMES))
    for panel in PANELS:
        common = rng.standard_normal()
        for name, loading in panel.items():
            values[column[name]] += loading * common
            shared[column[name]] += loading**2
    values += np.sqrt(np.clip(1 - shared, 0.1, 1)) * rng.standard_normal(len(NAMES))
    for finding, grade in grades.items():
        for name, effect in EFFECTS.get(finding, {}).items():
            values[column[name]] += STRENGTH * effect * (0.3 + 0.7 * grade)
    ill = sum(grades.get(name, 0.0) for name in (OPACITY, EFFUSION, PNEUMOTHORAX, CARDIOMEGALY))
    for name, effect in ILLNESS.items():
        values[column[name]] += STRENGTH * effect * ill
    values[column["Anion Gap"]] += 0.5 * max(0.0, values[column["Lactate"]])
    coverage = {name: COVERAGE.get(name, 0.97) for name in NAMES}
    for names, share in ((LIVER, 0.6), (GASES, 0.25 + 0.4 * min(ill, 1.0)), (DIFFERENTIAL, 0.65)):
        made = rng.random() < share
        coverage.update(dict.fromkeys(names, 0.98 * made))
    coverage["Lactate"] = 0.3 + 0.4 * min(ill, 1.0)
    made = rng.random(len(NAMES)) < np.array([coverage[name] for name in NAMES])
    return np.where(made, values, np.nan)


def percentiles(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of ``reference`` rows (the training patients) at or below each value, per column; NaN stays NaN.

    values: [n, 50]; reference: [m, 50] with NaN where missing. Returns [n, 50] in [0, 1].
    """
    out = np.full(values.shape, np.nan)
    for column in range(values.shape[1]):
        known = np.sort(reference[~np.isnan(reference[:, column]), column])
        rows = ~np.isnan(values[:, column])
        out[rows, column] = np.searchsorted(known, values[rows, column], side="right") / max(1, len(known))
    return out
