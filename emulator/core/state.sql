CREATE TABLE IF NOT EXISTS resources (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, parent TEXT NOT NULL,
  body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_kind ON resources (kind, parent, seq);
CREATE TABLE IF NOT EXISTS labels (seq INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (kind, key, value, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labels_by_seq ON labels (seq);
CREATE TRIGGER IF NOT EXISTS label AFTER INSERT ON resources BEGIN
  INSERT OR IGNORE INTO labels SELECT NEW.seq, NEW.kind, key, value FROM json_each(NEW.body, '$.labels')
  WHERE type = 'text'; END;
CREATE TRIGGER IF NOT EXISTS relabel AFTER UPDATE ON resources BEGIN
  DELETE FROM labels WHERE seq = OLD.seq;
  INSERT OR IGNORE INTO labels SELECT NEW.seq, NEW.kind, key, value FROM json_each(NEW.body, '$.labels')
  WHERE type = 'text'; END;
CREATE TRIGGER IF NOT EXISTS unlabel AFTER DELETE ON resources BEGIN DELETE FROM labels WHERE seq = OLD.seq; END;
CREATE TABLE IF NOT EXISTS points (series TEXT NOT NULL, step INTEGER NOT NULL, wall TEXT NOT NULL, value REAL,
  PRIMARY KEY (series, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
