-- Counts a lease anew. KEYS: conversation, schedule.

local s = load(ask.id, { conversation = KEYS[1], schedule = KEYS[2] })
local l = s and s.c[ask.lane]
if not l or not is_held(l, ask.claim) then return pack({ 'gone' }) end
l.till, l.span = now + ask.lease, ask.lease
s.claimed[ask.lane] = true

write_record(s)
return pack({ 'held' })
