"""The orders of pROC's aSAH data (113 patients with a subarachnoid haemorrhage), and what pROC makes of them.

Outcome and the order of three scores, which is all that an ROC curve has of them; the data set itself (Turck et al.
2010, in a package under GPL-3) is not here. Taken from ``data/aSAH.RData`` of github.com/xrobin/pROC at commit
ee2877e858bcd2757c05ce797ea64ade2c05885b; the expected values stand in ``tests/testthat/test-auc.R``,
``test-ci.auc.R`` and ``test-roc.test.R`` of that commit.
"""

import numpy as np

POOR = np.arange(113) >= 72  # outcome


def _numbers(text: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array(text.split(), dtype=np.float64)


WFNS = _numbers("""
1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2
2 2 2 3 3 3 4 4 4 4 4 4 4 4 5 5 5 5 1 1 2 2 2 2 2 2 2 2 2 2 2 2 3 4 4 4 4 4 4 4 4 5 5 5 5 5 5 5 5 5 5 5 5 5
5 5 5 5 5
""")
NDKA = _numbers("""
1 3 10 12 13 15 16 18 19 20 21 22 23 27 31 42 43 53 54 57 59 62 63 65 67 68 75 76 80 84 85 92 95 102 104 106
108 9 11 26 29 30 34 39 45 47 56 58 60 64 74 79 83 86 91 94 96 35 51 81 4 30 36 40 44 46 71 101 8 14 33 37
100 107 25 33 38 48 52 61 70 87 88 97 98 99 82 6 17 24 66 76 89 90 93 2 5 7 28 32 41 49 50 55 63 69 72 73 77
78 103 105 109
""")
S100B = _numbers("""
11 6 5 7 5 39 6 9 4 3 5 7 8 12 9 2 6 4 5 6 2 17 12 14 2 37 7 16 2 12 8 13 8 8 7 3 11 8 9 13 17 6 7 13 14 5
15 7 9 11 32 2 8 6 12 13 8 3 5 27 28 24 14 36 30 26 15 34 36 39 35 20 5 6 21 8 31 25 42 8 7 5 9 5 7 12 11 11
49 44 14 22 23 37 19 40 33 18 44 41 46 38 45 1 43 48 29 26 33 10 47 27 50
""")

AUROC = {"wfns": 0.823678861788618, "ndka": 0.611957994579946}
NDKA_INTERVAL = (0.501244999271703, 0.722670989888189)
TESTS = {  # z, two-sided p, 95% interval of the difference
    ("wfns", "s100b"): (2.20898359144091, 0.0271757822291882, (0.0104061769564846, 0.174214419249478)),
    ("wfns", "ndka"): (2.79777591868904, 0.00514557970691098, (0.0634011709339876, 0.3600405634833566)),
    ("ndka", "s100b"): (-1.39077002573558, 0.164295175223054, (-0.2876917446341914, 0.0488706064228094)),
}
