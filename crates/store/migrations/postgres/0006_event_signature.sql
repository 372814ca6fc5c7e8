-- Whether the signature of an event of the RTC Engine was checked.

-- 'unchecked' where its app has no key; null where it was checked, and of the other dialect.
alter table events add column signature text;
