-- Macros that the query of any feed may use.

-- Ids that are no UUID, as some trackers send, become one: the same id always the same.
create macro as_uuid(id) as
    case when try_cast(id as uuid) is null then cast(cast(md5(id) as uuid) as varchar) else id end;
