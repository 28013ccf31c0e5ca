-- The forgetting curve of every run: rise over the base with its interval, and over the run's own lowest point so far.
-- reads:  forgetting(run, step, probe, is_general, bits_per_byte, relative_rise, rise_low, rise_high, within_budget)
-- yields: forgetting(run, probe, step, is_general, bits_per_byte, relative_rise, rise_low, rise_high, rise_from_lowest,
--           within_budget)
-- grain:  one row per run, probe and step
-- params: $run  text = null; only this training run
SELECT
    run, probe, step, is_general, bits_per_byte, relative_rise, rise_low, rise_high,
    round(bits_per_byte / min(bits_per_byte) OVER (PARTITION BY run, probe ORDER BY step) - 1, 6) AS rise_from_lowest,
    within_budget
FROM forgetting
WHERE $run IS NULL OR run = $run
ORDER BY run, probe, step
