// Receiver operating characteristic.
charts.roc = curveChart({
  kind: "roc", place: 6, title: "ROC", area: "AUROC", x: "false positive rate", y: "sensitivity",
  hint: "Sensitivity against the false positive rate at every threshold; the dashed line is chance. Beside each name stands the area. Labels, training seeds and folds are averaged at each false positive rate, so that the mean curve's area is the mean of the areas. Intervals are in the table.",
});
