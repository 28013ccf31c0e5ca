-- Log-likelihood of every held-out document at every checkpoint; nats are summed over the labels.
-- reads:  stored.probes(run, step, probe, doc_id, nats, tokens, bytes)
-- yields: probes(run, step, probe, doc_id, nats, tokens, bytes)
-- grain:  one row per run, step, probe and document
-- params: none
SELECT run, step, probe, doc_id, nats, tokens, bytes FROM stored.probes
