-- The phases of every mixture version, in the order in which they are trained on.
-- reads:  stored.mixture_phases(mixture, version, is_current, phase, phase_number, curriculum, budget_tokens, documents, tokens, supervised_tokens),
--         stored.mixture_sources(mixture, version, phase_number, is_replay, supervised_tokens)
-- yields: mixture_phases(mixture, version, is_current, phase, phase_number, curriculum, budget_tokens, documents, tokens, supervised_tokens,
--           replay_tokens)
-- grain:  one row per mixture version and phase; a mixture without phases has one. replay_tokens are supervised, as budget_tokens
-- params: none
SELECT
    p.mixture, p.version, p.is_current, p.phase, p.phase_number, p.curriculum, p.budget_tokens, p.documents, p.tokens,
    p.supervised_tokens, coalesce(sum(s.supervised_tokens) FILTER (WHERE s.is_replay), 0)::BIGINT AS replay_tokens
FROM stored.mixture_phases AS p
LEFT JOIN stored.mixture_sources AS s USING (mixture, version, phase_number)
GROUP BY ALL
ORDER BY p.mixture, p.version, p.phase_number
