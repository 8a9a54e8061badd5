"""How good an ensemble is: scores, baselines to beat, figures and the report that joins them."""
