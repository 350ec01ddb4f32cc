// Precision and recall.
charts.pr = curveChart({
  kind: "pr", place: 7, title: "Precision-recall", area: "average precision", x: "recall", y: "precision",
  hint: "Precision against recall, in the steps whose area is the average precision (AUPRC). The dashed line, of a single label, is its prevalence: what chance gives. Values depend on how frequent a finding is: compare within a label.",
});
