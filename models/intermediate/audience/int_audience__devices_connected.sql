-- One row per device and user who was seen on it: the group of devices and users that they belong to. Devices are in
-- one group where they have a user in common, or others between them have. A group is called by its smallest user_key.
--
-- Users of a device are linked by way of its smallest one, so a device of many users has as many links as users. Each
-- key then goes from user to user, but to greater keys alone: that of a group's smallest user reaches all of them, and
-- others soon end.
{{ config(materialized='view') }}

with recursive pairs as (
    select distinct
        device_key,
        user_key
    from {{ ref('int_audience__device_users_seen') }}
),

smallest_users as (
    select
        device_key,
        min(user_key) as smallest_key
    from pairs
    group by device_key
),

links as (
    select
        pairs.user_key,
        smallest_users.smallest_key as linked_key
    from pairs
    inner join smallest_users on pairs.device_key = smallest_users.device_key
    union
    select
        smallest_users.smallest_key as user_key,
        pairs.user_key as linked_key
    from pairs
    inner join smallest_users on pairs.device_key = smallest_users.device_key
),

reached as (
    select
        user_key,
        user_key as reached_from_key
    from links
    union
    select
        links.linked_key as user_key,
        reached.reached_from_key
    from reached
    inner join links on reached.user_key = links.user_key
    where links.linked_key > reached.reached_from_key
),

users_grouped as (
    select
        user_key,
        min(reached_from_key) as group_key
    from reached
    group by user_key
)

select
    pairs.device_key,
    pairs.user_key,
    users_grouped.group_key
from pairs
inner join users_grouped on pairs.user_key = users_grouped.user_key
