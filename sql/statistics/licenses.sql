-- Licences of what was read, as the stage license found them, with what each is known from and the family it belongs to.
-- reads:  stored.stage_license(stage, source, num_bytes, license__spdx, license__from, license__family)
-- yields: licenses(stage, source, license, family, known_from, documents, bytes, fraction)
-- grain:  one row per stage, source, licence and what it is known from; fraction is of the source's documents
-- params: $source  text = null; only this source
SELECT
    stage, source, license__spdx AS license, license__family AS family, license__from AS known_from,
    count(*) AS documents, sum(num_bytes)::BIGINT AS bytes,
    round(count(*) / sum(count(*)) OVER (PARTITION BY stage, source), 4) AS fraction
FROM stored.stage_license
WHERE $source IS NULL OR source = $source
GROUP BY stage, source, license__spdx, license__family, license__from
ORDER BY stage, source, documents DESC, license, known_from
