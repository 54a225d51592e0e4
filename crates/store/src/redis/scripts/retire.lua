-- Takes events away from the front of a log, as far as nothing has still to be done with them. KEYS[12]: where the thread is known;
-- further ones: where messages are.
-- gone: {seq, message or false, its key's number} in their order

local s = load(ask.id, named_keys)
if not s then return pack({ 0, false, false }) end
local c = s.c
local wanted = c.last + 1
for lane in pairs(lanes) do
    local l = c[lane]
    if l.next then wanted = math.min(wanted, l.next) end
    if l.claim and l.seq then wanted = math.min(wanted, l.seq) end
    for _, redo in ipairs(l.redo or {}) do wanted = math.min(wanted, redo[2] or redo[1]) end
end
local gone, messages = 0, {}
for _, event in ipairs(ask.gone) do
    if event[1] ~= c.first + gone or event[1] >= wanted then break end
    gone = gone + 1
    if event[2] then table.insert(messages, event) end
end
if gone == 0 then return pack({ 0, false, false }) end

local letters = c.letters and letters_of(s, function(seq) return seq < c.first + gone end) or {}
if #letters > 0 then
    c.letters = c.letters > #letters and c.letters - #letters or nil
    if not c.letters and c.attention == DEAD_LETTER then c.attention = nil end
end
c.first = c.first + gone
if c.asked and c.asked < c.first then c.asked, c.due = nil, nil end

local keys = s.keys
for _, event in ipairs(messages) do call('HDEL', KEYS[event[3]], event[2]) end
for _, letter in ipairs(letters) do call('ZREM', keys.letters, letter) end
if c.first <= c.last then
    call('LTRIM', keys.log, gone, -1)
    write(s)
    return pack({ gone, false, false })
end
if s.place then call('ZREM', keys.index, s.place) end
if s.assigned then call('ZREM', keys.index, s.assigned) end
call('ZREM', keys.timers, s.id)
for lane, of in pairs(lanes) do
    local l = c[lane]
    call('ZREM', keys.schedule, s.id .. of.letter)
    if l.parked then call('ZREM', keys.waits, l.parked .. s.id .. of.letter) end
end
for at = 1, #c.people, 24 do call('HDEL', keys.posts, c.people:sub(at, at + 15) .. s.id) end
if call('HGET', KEYS[12], ask.thread) == s.id then call('HDEL', KEYS[12], ask.thread) end
call('DEL', keys.conversation, keys.log, keys.agent, keys.deliver)
return pack({ gone, true, c.people })
