-- Every training run of the workspace; content is the whole run.json, read with ->> as in content ->> '$.recipe.seed'.
-- reads:  stored.runs(run, is_finished, content)
-- yields: runs(run, is_finished, mixture, base, lineage, steps, loss_last, within_budget, content)
-- grain:  one row per run; lineage names the runs behind it, oldest first, parted by ' > ', '' for none; steps, loss_last and within_budget are null until it is finished
-- params: none
SELECT
    run, is_finished, content ->> '$.mixture.reference' AS mixture,
    coalesce(content ->> '$.base.name', content ->> '$.base') AS base,
    array_to_string(content ->> '$.lineage.runs[*].run', ' > ') AS lineage,
    (content ->> '$.summary.steps')::BIGINT AS steps, (content ->> '$.summary.loss_last')::DOUBLE AS loss_last,
    (content ->> '$.summary.within_budget')::BOOLEAN AS within_budget, content::JSON AS content
FROM stored.runs
