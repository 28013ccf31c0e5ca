-- Every version of every mixture in the workspace, whichever recipe made it; is_current marks those the recipe ended with.
-- reads:  stored.mixtures(mixture, version, digest, recipe, derived_from, is_current, template, documents, tokens, supervised_tokens, n_eff_before,
--           n_eff_after, replay_share, curriculum, seed, row_tokens, rows_per_step, num_steps, tokenizer, token_store, selection, split,
--           schedule)
-- yields: mixtures(mixture, version, digest, recipe, derived_from, is_current, template, documents, tokens, supervised_tokens, n_eff_before,
--           n_eff_after, replay_share, curriculum, seed, row_tokens, rows_per_step, num_steps, tokenizer, token_store, selection, split,
--           schedule)
-- grain:  one row per mixture version; derived_from is null where a recipe built it, template without chats
-- params: none
SELECT
    mixture, version, digest, recipe, derived_from, is_current, template, documents, tokens, supervised_tokens, n_eff_before,
    n_eff_after, replay_share, curriculum, seed, row_tokens, rows_per_step, num_steps, tokenizer, token_store, selection, split,
    schedule
FROM stored.mixtures
