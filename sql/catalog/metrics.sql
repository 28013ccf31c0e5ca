-- What every optimizer step measured, of running runs too; source null stands for the whole step.
-- reads:  stored.metrics(run, step, source, loss, supervised_tokens, tokens, learning_rate, grad_norm, seconds)
-- yields: metrics(run, step, source, loss, supervised_tokens, tokens, learning_rate, grad_norm, seconds)
-- grain:  one row per run, step and source
-- params: none
SELECT run, step, source, loss, supervised_tokens, tokens, learning_rate, grad_norm, seconds FROM stored.metrics
