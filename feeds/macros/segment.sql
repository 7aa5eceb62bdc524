-- Ids that are no UUID, as a library may be told to send, become one: always the same.
create macro as_uuid(id) as
    case when try_cast(id as uuid) is null then cast(cast(md5(id) as uuid) as varchar) else id end;
