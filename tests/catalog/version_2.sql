BEGIN TRANSACTION;
CREATE TABLE columns (
    instance INTEGER NOT NULL REFERENCES instances,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    dtype TEXT NOT NULL,
    builder TEXT,
    PRIMARY KEY (instance, position)
) WITHOUT ROWID;
INSERT INTO "columns" VALUES(2,0,'x','Int64',NULL);
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    process_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    happened_at REAL NOT NULL
);
INSERT INTO "events" VALUES(1,'66acd8a7-e570-49c9-893b-50f8d7602562','state','RUNNING',1.79534241095395946498e+09);
INSERT INTO "events" VALUES(2,'66acd8a7-e570-49c9-893b-50f8d7602562','state','COMPLETED',1.79534241095702409743e+09);
INSERT INTO "events" VALUES(3,'e2446ea9-50b6-4b54-9ae2-ec2807b45639','state','RUNNING',1.79534241095930838585e+09);
INSERT INTO "events" VALUES(4,'e2446ea9-50b6-4b54-9ae2-ec2807b45639','state','COMPLETED',1.79534241095945191384e+09);
INSERT INTO "events" VALUES(5,'5350768a-ab12-45d8-bb58-05dd2d22abb6','state','RUNNING',1.79534241109879112241e+09);
INSERT INTO "events" VALUES(6,'5350768a-ab12-45d8-bb58-05dd2d22abb6','state','COMPLETED',1.79534241109893393517e+09);
INSERT INTO "events" VALUES(7,'113a4047-4b08-40b9-9cc6-913dea26a062','state','RUNNING',1.79534241110190296176e+09);
INSERT INTO "events" VALUES(8,'113a4047-4b08-40b9-9cc6-913dea26a062','state','COMPLETED',1.79534241110433506966e+09);
INSERT INTO "events" VALUES(9,'first','state','RUNNING',1.79534241155386519424e+09);
INSERT INTO "events" VALUES(10,'first','state','COMPLETED',1.7953424115762104988e+09);
INSERT INTO "events" VALUES(11,'76621b52-34bb-48ba-9fbe-4d60ed112b44','state','RUNNING',1.79534241158317208288e+09);
INSERT INTO "events" VALUES(12,'76621b52-34bb-48ba-9fbe-4d60ed112b44','state','COMPLETED',1.79534241158329105382e+09);
INSERT INTO "events" VALUES(13,'33c572d2-03f5-4821-ac31-562f6aec8750','state','RUNNING',1.7953424115857481956e+09);
INSERT INTO "events" VALUES(14,'33c572d2-03f5-4821-ac31-562f6aec8750','state','COMPLETED',1.79534241158923530586e+09);
INSERT INTO "events" VALUES(15,'paused','state','RUNNING',1.79534241162312912945e+09);
INSERT INTO "events" VALUES(16,'paused','state','PAUSED',1.79534241164194369316e+09);
CREATE TABLE instances (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables,
    instance_id TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL,
    active INTEGER NOT NULL,
    success INTEGER NOT NULL,
    external_edit INTEGER NOT NULL,
    description TEXT NOT NULL,
    author TEXT NOT NULL,
    origin_table_id INTEGER REFERENCES tables (table_id),
    origin_id TEXT,
    process_id TEXT NOT NULL,
    deactivated_by TEXT,
    created_at REAL NOT NULL,
    materialized_at REAL,
    rows INTEGER,
    manifest_sha256 TEXT,
    deleted_at REAL,
    deleted_by TEXT
, pinned_at REAL, pinned_by TEXT);
INSERT INTO "instances" VALUES(2,1,'base_1795342411_cbe7d853-eb73-5448-a13f-4b0e4d526261','base','materialized',1,1,0,'','ada',NULL,NULL,'first',NULL,1.79534241109882187841e+09,1.79534241157595753665e+09,1,'eb48b601e26e8af25e59444ae312619ad5350d517774c9112eea169b46ec07a5',NULL,NULL,NULL,NULL);
INSERT INTO "instances" VALUES(3,1,'TEMP_base','base','temporary',0,0,0,'','ada',1,'base_1795342411_cbe7d853-eb73-5448-a13f-4b0e4d526261','76621b52-34bb-48ba-9fbe-4d60ed112b44',NULL,1.79534241158322858816e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE lineage (
    instance INTEGER NOT NULL REFERENCES instances,
    source_table_id INTEGER NOT NULL REFERENCES tables (table_id),
    source_id TEXT NOT NULL,
    PRIMARY KEY (instance, source_table_id, source_id)
) WITHOUT ROWID;
CREATE TABLE locks (
    process_id TEXT NOT NULL REFERENCES processes (process_id) ON UPDATE CASCADE,
    resource TEXT NOT NULL,
    mode TEXT NOT NULL,
    claim_only INTEGER NOT NULL,
    granted_at REAL NOT NULL,
    PRIMARY KEY (resource, process_id)
) WITHOUT ROWID;
INSERT INTO "locks" VALUES('paused','stories/TEMP_base/','exclusive',0,1.79534241159595108036e+09);
INSERT INTO "locks" VALUES('paused','stories/base_1795342411_cbe7d853-eb73-5448-a13f-4b0e4d526261/','shared',0,1.79534241159595108036e+09);
CREATE TABLE processes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    process_id TEXT NOT NULL UNIQUE,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL,
    author TEXT NOT NULL,
    named INTEGER NOT NULL,
    parent_id TEXT,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    stop_intent TEXT,
    paused_on_request INTEGER NOT NULL DEFAULT 0,
    host TEXT,
    pid INTEGER,
    error TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    updated_at REAL NOT NULL,
    ended_at REAL
, pause_requested_by TEXT, pause_reason TEXT, completed_through TEXT, mark INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0);
INSERT INTO "processes" VALUES(1,'66acd8a7-e570-49c9-893b-50f8d7602562','create_code_module','{"texts": {"m": "def index():\n    yield 1\n"}, "packages": {}, "binaries": {}}','ada',0,NULL,'COMPLETED',1,NULL,0,'vm',13054,NULL,1.79534241095367407795e+09,1.79534241095391607287e+09,1.79534241095696902278e+09,1.79534241095696902278e+09,NULL,NULL,NULL,0,0);
INSERT INTO "processes" VALUES(2,'e2446ea9-50b6-4b54-9ae2-ec2807b45639','create_table','{"table_name": "stories", "allow_multiple_artifacts": false, "has_side_effects": false, "description": "old ones"}','ada',0,NULL,'COMPLETED',1,NULL,0,'vm',13054,NULL,1.7953424109589557648e+09,1.79534241095929169651e+09,1.79534241095943164828e+09,1.79534241095943164828e+09,NULL,NULL,NULL,0,0);
INSERT INTO "processes" VALUES(3,'5350768a-ab12-45d8-bb58-05dd2d22abb6','create_instance','{"table_name": "stories", "version": "base", "origin_id": null, "origin_table": null, "external_edit": false, "copy": false, "builders": {}, "description": ""}','ada',0,NULL,'COMPLETED',1,NULL,0,'vm',13054,NULL,1795342411.09609,1.7953424110987145901e+09,1.79534241109891176224e+09,1.79534241109891176224e+09,NULL,NULL,NULL,0,0);
INSERT INTO "processes" VALUES(4,'113a4047-4b08-40b9-9cc6-913dea26a062','create_builder_file','{"table_name": "stories", "version": "base", "texts": {"stories_index": "builder_type: IndexBuilder\nchanged_columns: [x]\npython_function: index\ncode_module: m\nis_custom: true\nreturn_type: generator\n"}}','ada',0,NULL,'COMPLETED',1,NULL,0,'vm',13054,NULL,1.79534241110177445409e+09,1.79534241110188508032e+09,1.79534241110428237917e+09,1.79534241110428237917e+09,NULL,NULL,NULL,0,0);
INSERT INTO "processes" VALUES(5,'first','execute_instance','{"table_name": "stories", "version": "base", "force_execute": false, "background": false, "on_change": "error", "existing": "auto", "until": null, "from_builder": null, "budget": null, "start_at": {}}','ada',1,NULL,'COMPLETED',1,NULL,0,'vm',13054,NULL,1.7953424115434453487e+09,1.79534241155380749704e+09,1.79534241157617020607e+09,1.79534241157617020607e+09,NULL,NULL,NULL,0,0);
INSERT INTO "processes" VALUES(6,'76621b52-34bb-48ba-9fbe-4d60ed112b44','create_instance','{"table_name": "stories", "version": "base", "origin_id": null, "origin_table": null, "external_edit": false, "copy": true, "builders": {}, "description": ""}','ada',0,NULL,'COMPLETED',1,NULL,0,'vm',13054,NULL,1.79534241158041477201e+09,1.79534241158314776423e+09,1.79534241158326840397e+09,1.79534241158326840397e+09,NULL,NULL,NULL,0,0);
INSERT INTO "processes" VALUES(7,'33c572d2-03f5-4821-ac31-562f6aec8750','create_code_module','{"texts": {"m": "def index():\n    raise ValueError(1)\n"}, "packages": {}, "binaries": {}}','ada',0,NULL,'COMPLETED',1,NULL,0,'vm',13054,NULL,1.79534241158563089369e+09,1.79534241158573102956e+09,1.7953424115891821384e+09,1.7953424115891821384e+09,NULL,NULL,NULL,0,0);
INSERT INTO "processes" VALUES(8,'paused','execute_instance','{"table_name": "stories", "version": "base", "force_execute": false, "background": false, "on_change": "error", "existing": "auto", "until": null, "from_builder": null, "budget": null, "start_at": {}}','ada',1,NULL,'PAUSED',1,NULL,0,'vm',13054,'["ValueError", "1\nThis was in row 0 of the builder ''stories_index''.", "Traceback (most recent call last):\n  File \"/usr/lib/python3/tablevault_like/engines/threads.py\", line 250, in follow\n    value = next(iterator)\n            ^^^^^^^^^^^^^^\n  File \"/usr/lib/python3/tablevault_like/builders/commits.py\", line 50, in follow\n    for result in results:\n  File \"/usr/lib/python3/tablevault_like/builders/commits.py\", line 122, in _generator\n    yield from results\n  File \"/usr/lib/python3/tablevault_like/builders/results.py\", line 155, in __call__\n    iterator = iter(_iterable(self._function(**work.arguments)))\n                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  File \"/home/ada/vault/code_functions/m.py\", line 2, in index\n    raise ValueError(1)\nValueError: 1\nThis was in row 0 of the builder ''stories_index''.\n"]',1.79534241159595108036e+09,1.79534241162302947046e+09,1.79534241164191222194e+09,NULL,NULL,NULL,NULL,0,0);
CREATE TABLE requests (
    ticket INTEGER NOT NULL REFERENCES waiters ON DELETE CASCADE,
    resource TEXT NOT NULL,
    mode TEXT NOT NULL,
    PRIMARY KEY (resource, ticket)
) WITHOUT ROWID;
CREATE TABLE steps (
    process_id TEXT NOT NULL REFERENCES processes (process_id) ON UPDATE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    started_at REAL,
    finished_at REAL,
    rows_total INTEGER,
    rows_done INTEGER NOT NULL DEFAULT 0,
    rows_failed INTEGER NOT NULL DEFAULT 0,
    rows_reused INTEGER NOT NULL DEFAULT 0,
    rows_before INTEGER NOT NULL DEFAULT 0,
    resumed_at REAL, rows_skipped INTEGER NOT NULL DEFAULT 0, batch_size INTEGER, cost REAL NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (process_id, name)
) WITHOUT ROWID;
INSERT INTO "steps" VALUES('first',1,'materialize',NULL,1.7953424115752060413e+09,NULL,0,0,0,0,NULL,0,NULL,0.0,0);
INSERT INTO "steps" VALUES('first',0,'stories_index',1.79534241155759668345e+09,1.79534241156317925453e+09,1,1,0,0,0,1.79534241155759668345e+09,0,NULL,0.0,0);
INSERT INTO "steps" VALUES('paused',1,'materialize',NULL,NULL,NULL,0,0,0,0,NULL,0,NULL,0.0,0);
INSERT INTO "steps" VALUES('paused',0,'stories_index',1.7953424116368932724e+09,NULL,NULL,0,1,0,0,1.7953424116368932724e+09,0,NULL,0.0,0);
CREATE TABLE tables (
    table_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    folder TEXT NOT NULL,
    next_folder TEXT,
    allow_multiple_artifacts INTEGER NOT NULL,
    has_side_effects INTEGER NOT NULL,
    description TEXT NOT NULL,
    author TEXT NOT NULL,
    process_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    deleted_at REAL,
    deleted_by TEXT
);
INSERT INTO "tables" VALUES(1,'stories','stories',NULL,0,0,'old ones','ada','e2446ea9-50b6-4b54-9ae2-ec2807b45639',1.79534241095937848091e+09,NULL,NULL);
CREATE TABLE vault (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "vault" VALUES('author','ada');
INSERT INTO "vault" VALUES('created','2026-11-22T10:13:30Z');
INSERT INTO "vault" VALUES('description','stories');
CREATE TABLE waiters (
    ticket INTEGER PRIMARY KEY AUTOINCREMENT,
    process_id TEXT NOT NULL UNIQUE,
    operation TEXT NOT NULL,
    arguments TEXT NOT NULL,
    author TEXT NOT NULL,
    named INTEGER NOT NULL,
    parent_id TEXT,
    host TEXT,
    pid INTEGER,
    since REAL NOT NULL
);
CREATE UNIQUE INDEX tables_by_name ON tables (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX tables_by_folder ON tables (folder) WHERE deleted_at IS NULL;
CREATE INDEX tables_by_next_folder ON tables (next_folder) WHERE deleted_at IS NULL AND next_folder IS NOT NULL;
CREATE UNIQUE INDEX instances_by_id ON instances (table_id, instance_id) WHERE deleted_at IS NULL;
CREATE INDEX instances_by_version ON instances (table_id, version, status, number);
CREATE INDEX instances_by_deactivation ON instances (deactivated_by) WHERE deactivated_by IS NOT NULL;
CREATE INDEX lineage_by_source ON lineage (source_table_id, source_id);
CREATE INDEX processes_by_parent ON processes (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX processes_live ON processes (number) WHERE ended_at IS NULL;
CREATE INDEX locks_by_process ON locks (process_id);
CREATE INDEX requests_by_ticket ON requests (ticket);
CREATE INDEX events_by_process ON events (process_id);
CREATE INDEX processes_by_end ON processes (ended_at) WHERE ended_at IS NOT NULL
;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('processes',8);
INSERT INTO "sqlite_sequence" VALUES('events',16);
INSERT INTO "sqlite_sequence" VALUES('tables',1);
INSERT INTO "sqlite_sequence" VALUES('instances',3);
COMMIT;
PRAGMA application_id = 1414941771;
PRAGMA user_version = 2;
