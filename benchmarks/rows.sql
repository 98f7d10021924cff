-- :runs runs to search in: 60 % in one experiment, the rest in 40 others; ten metrics, five params and five tags each.
-- Written past the server: nothing here is measured.
SET synchronous_commit = off;
DROP TABLE IF EXISTS bench_places;
CREATE TEMPORARY TABLE places AS
  SELECT row_number() OVER () - 1 AS place, experiment_id
    FROM (SELECT nextval('experiments_experiment_id_seq')::int AS experiment_id FROM generate_series(0, 40)) AS made;
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)
  SELECT experiment_id, 'bench-rows-' || experiment_id, 'mlflow-artifacts:/' || experiment_id, 'active', 1700000000000, 1700000000000 FROM places;
CREATE TEMPORARY TABLE made AS
  SELECT number, md5('bench-' || experiment_id || '-' || number) AS run_uuid, experiment_id
    FROM generate_series(1, :runs) AS number
    JOIN places ON place = CASE WHEN number <= :runs * 0.6 THEN 0 ELSE 1 + number % 40 END;
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version,
                  lifecycle_stage, artifact_uri, experiment_id)
  SELECT run_uuid, 'run-' || number, 'LOCAL', 'train.py', '', 'u' || number % 20, CASE WHEN number % 10 = 0 THEN 'FAILED' ELSE 'FINISHED' END,
         1700000000000 + number * 1000::bigint, 1700000000500 + number * 1000::bigint, '', 'active',
         'mlflow-artifacts:/' || experiment_id || '/' || run_uuid || '/artifacts', experiment_id
    FROM made;
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
  SELECT 'm' || key, random(), 1700000000000, 10, false, run_uuid FROM made, generate_series(0, 9) AS key;
INSERT INTO params (key, value, run_uuid)
  SELECT 'p' || key, 'x' || floor(random() * 3000)::int, run_uuid FROM made, generate_series(0, 4) AS key;
INSERT INTO tags (key, value, run_uuid)
  SELECT 't' || key, 'v' || floor(random() * 100)::int, run_uuid FROM made, generate_series(0, 3) AS key
  UNION ALL
  SELECT 'mlflow.runName', 'run-' || number, run_uuid FROM made;
CREATE TABLE bench_places AS
  SELECT (SELECT experiment_id FROM places WHERE place = 0) AS big,
         (SELECT experiment_id FROM places WHERE place = 1) AS small,
         1700000000000 + (:runs / 2) * 1000::bigint AS since;
VACUUM (ANALYZE) runs, latest_metrics, params, tags;
