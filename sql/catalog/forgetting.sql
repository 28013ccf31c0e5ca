-- How far every probe moved from the base model, with its 95 % interval paired by document.
-- reads:  stored.forgetting(run, step, probe, is_general, bits_per_byte, nats_per_token, relative_rise, rise_low, rise_high, within_budget)
-- yields: forgetting(run, step, probe, is_general, bits_per_byte, nats_per_token, relative_rise, rise_low, rise_high, within_budget)
-- grain:  one row per run, step and probe
-- params: none
SELECT run, step, probe, is_general, bits_per_byte, nats_per_token, relative_rise, rise_low, rise_high, within_budget
FROM stored.forgetting
