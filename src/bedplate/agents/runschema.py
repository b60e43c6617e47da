"""The tables of `runs.db`. What a host's processes share about runs; none of it is the record of anything."""

from __future__ import annotations

# A partial index serves only statements that say what it says: who looks for an action says `action <> ''`, too.
VERSION = 1  # of the file; another one is not read
TABLES = """
CREATE TABLE run (id TEXT PRIMARY KEY, subject TEXT NOT NULL, agent TEXT NOT NULL, key TEXT NOT NULL,
  parent TEXT NOT NULL, chain TEXT NOT NULL, principal TEXT NOT NULL, task_sha256 TEXT NOT NULL, release TEXT NOT NULL,
  epoch INTEGER NOT NULL, started INTEGER NOT NULL, ended INTEGER NOT NULL, state TEXT NOT NULL, steps INTEGER NOT NULL,
  actions INTEGER NOT NULL, denied INTEGER NOT NULL, asked INTEGER NOT NULL, amount INTEGER NOT NULL,
  cost_nano INTEGER NOT NULL, recent BLOB NOT NULL, tools BLOB NOT NULL, refused INTEGER NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE INDEX run_by_time ON run (started, id);
CREATE INDEX run_by_agent ON run (agent, started, id);
CREATE INDEX run_by_subject ON run (subject, started, id);
CREATE TABLE step (run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, tool TEXT NOT NULL,
  digest TEXT NOT NULL, verdict TEXT NOT NULL, state TEXT NOT NULL, at INTEGER NOT NULL, action TEXT NOT NULL,
  call TEXT NOT NULL, key TEXT NOT NULL, class TEXT NOT NULL, amount INTEGER NOT NULL, reasons BLOB NOT NULL,
  tainted BLOB NOT NULL, cost_nano INTEGER NOT NULL, latency_us INTEGER NOT NULL, times INTEGER NOT NULL,
  PRIMARY KEY (run, number)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX step_by_action ON step (action) WHERE action <> '';
CREATE INDEX step_by_digest ON step (run, digest, number);
CREATE TABLE taken (action TEXT PRIMARY KEY, run TEXT NOT NULL, subject TEXT NOT NULL, agent TEXT NOT NULL,
  day INTEGER NOT NULL, amount INTEGER NOT NULL, process TEXT NOT NULL, life TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX taken_by_run ON taken (run);
CREATE INDEX taken_in_hand ON taken (process) WHERE process <> '';
CREATE TABLE day (subject TEXT NOT NULL, agent TEXT NOT NULL, day INTEGER NOT NULL, runs INTEGER NOT NULL,
  steps INTEGER NOT NULL, actions INTEGER NOT NULL, denied INTEGER NOT NULL, amount INTEGER NOT NULL,
  cost_nano INTEGER NOT NULL,
  PRIMARY KEY (subject, agent, day)) STRICT, WITHOUT ROWID;
CREATE TABLE atoms (run TEXT NOT NULL, step INTEGER NOT NULL, source TEXT NOT NULL, trusted INTEGER NOT NULL,
  atoms BLOB NOT NULL) STRICT;
CREATE INDEX atoms_by_run ON atoms (run);
CREATE TABLE effect (action TEXT PRIMARY KEY, run TEXT NOT NULL, step INTEGER NOT NULL, key TEXT NOT NULL,
  tool TEXT NOT NULL, digest TEXT NOT NULL, tier INTEGER NOT NULL, idempotent INTEGER NOT NULL, at INTEGER NOT NULL,
  due INTEGER NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL, ended INTEGER NOT NULL,
  result_sha256 TEXT NOT NULL, result BLOB NOT NULL, message TEXT NOT NULL, process TEXT NOT NULL, life TEXT NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX effect_by_key ON effect (run, key) WHERE key <> '';
CREATE INDEX effect_by_run ON effect (run, step);
CREATE INDEX effect_intended ON effect (process, due) WHERE state = 'intended';
CREATE INDEX effect_unknown ON effect (at) WHERE state = 'unknown';
CREATE TABLE tally (subject TEXT NOT NULL, scope TEXT NOT NULL, measure TEXT NOT NULL, slot INTEGER NOT NULL,
  part INTEGER NOT NULL, good INTEGER NOT NULL, bad INTEGER NOT NULL,
  PRIMARY KEY (subject, scope, measure, slot, part)) STRICT, WITHOUT ROWID;
CREATE TABLE met (subject TEXT NOT NULL, agent TEXT NOT NULL, sort TEXT NOT NULL, what TEXT NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY (subject, agent, sort, what)) STRICT, WITHOUT ROWID;
CREATE INDEX met_by_time ON met (subject, agent, sort, at);
CREATE TABLE trip (subject TEXT NOT NULL, scope TEXT NOT NULL, measure TEXT NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (subject, scope, measure)) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
"""
