-- Ends a claim without moving on. KEYS: conversation, schedule, waits, the operation.

local before = answered(KEYS[4])
if before then return pack(before) end

local s = load(ask.id, { conversation = KEYS[1], schedule = KEYS[2], waits = KEYS[3] })
local l = s and s.c[ask.lane]
if not l or not is_held(l, ask.claim) then
    remember(KEYS[4], { 'gone' })
    return pack({ 'gone' })
end
local kept = { { l.seq, l.replay or false, unpack(ask.progress) } }
for _, tried in ipairs(l.tried or {}) do
    if tried[1] ~= l.seq or tried[2] ~= (l.replay or false) then table.insert(kept, tried) end
end
l.tried = kept
let_go(l)
due_at(s, ask.lane, now + ask.wait)
if ask.waiting and (l.next or l.redo) then
    l.parked, s.parked[ask.lane] = ask.waiting, ask.waiting
end

write_record(s)
remember(KEYS[4], { 'held' })
return pack({ 'held' })
