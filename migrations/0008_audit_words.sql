-- Search by words that does not slow down with a long trail. How and why: docs/audit.md. Run as citadel_owner, in one
-- transaction, by the migration runner. Where the trail is long, the index takes a while to make (some minutes for three
-- million events on a busy machine); what arrives meanwhile waits in the journal.
--
-- Beside the words, each row has the minute, the hour and the day of its time as keys of the same index, and the types of its
-- actor and object, which had no index. A search for words or types, newest first, then looks at the newest minutes, hours and
-- days alone until its page is full: what it costs does not grow with how often a word occurs in the whole trail. A key only
-- leads to rows, and time and type are compared all the same. src/audit/search.hpp has the same expressions. The list of what
-- is not in order yet is short, because each search reads all of it.

CREATE INDEX event_by_word_and_type ON audit.event USING gin (
  (ARRAY[floor(extract(epoch FROM time - timestamptz '1970-01-01 00:00:00+00') / 60)::bigint,
         10000000000 + floor(extract(epoch FROM time - timestamptz '1970-01-01 00:00:00+00') / 3600)::bigint,
         20000000000 + floor(extract(epoch FROM time - timestamptz '1970-01-01 00:00:00+00') / 86400)::bigint]),
  (ARRAY['actor ' || actor_type, 'object ' || object_type]),
  to_tsvector('simple'::regconfig, translate(
    action || ' ' || actor || ' ' || object_type || ' ' || object || ' ' || reason, './:@_-', '      '))
) WITH (gin_pending_list_limit = 512);
DROP INDEX audit.event_by_word;
