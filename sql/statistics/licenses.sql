-- Licences of what was read, as the stage license found them, with what each is known from and the family it belongs to.
-- reads:  stored.stage_license(stage, doc_id, source, license__spdx, license__from, license__family),
--         documents(doc_id, num_bytes)
-- yields: licenses(stage, source, license, family, known_from, documents, bytes, fraction)
-- grain:  one row per stage, source, licence and what it is known from; fraction is of the source's documents
-- params: none
SELECT
    a.stage, a.source, a.license__spdx AS license, a.license__family AS family, a.license__from AS known_from,
    count(*) AS documents, sum(d.num_bytes)::BIGINT AS bytes,
    round(count(*) / sum(count(*)) OVER (PARTITION BY a.stage, a.source), 4) AS fraction
FROM stored.stage_license AS a
JOIN documents AS d USING (doc_id)
GROUP BY a.stage, a.source, a.license__spdx, a.license__family, a.license__from
ORDER BY a.stage, a.source, documents DESC, license, known_from
