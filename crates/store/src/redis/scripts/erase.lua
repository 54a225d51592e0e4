-- Erases events of a log that are a contact's. KEYS[12]: where the thread is known; further ones: where messages are.
-- alone: whether the caller saw nobody else in it; begin: whether this is the first step here; leave: whether it is the last.
-- changes: {seq, event as it is to be, message or false, its key's number}; erased: the thread's name from now on

local s = load(ask.id, named_keys)
if not s then return pack({ 'gone' }) end
local c, keys = s.c, s.keys
local alone = #c.people == 24 and c.people:sub(1, 16) == ask.contact
if alone ~= ask.alone then return pack({ 'changed' }) end

local letters, erased = {}, {}
if alone and ask.begin then
    move_agent(s, false)
    local l = c.deliver
    if l.more then s.queues.deliver = { popped = 0, pushed = {}, first = 1, cleared = true } end
    l.next, l.since, l.more, l.redo, l.tried, l.cursor = nil, nil, nil, nil, nil, c.last
    due_at(s, 'deliver', now)
    let_go(c.agent)
    let_go(l)
    if c.letters then letters = letters_of(s, function() return true end) end
    c.letters, c.attention, c.snoozed, c.batch, c.asked, c.due, c.discarded, c.subject, c.origin = nil
    c.fetch, c.fetching = nil, nil
    c.status, c.version, c.thread = RESOLVED, c.version + 1, ask.erased
end
for _, change in ipairs(ask.changes) do
    local seq = change[1]
    if seq >= c.first and seq <= c.last then
        local found = element(s, seq)
        if change[3] then
            erased[seq] = true
            s.edited[seq] = { 0, found[2], change[2] }
        else
            s.edited[seq] = { found[1], found[2], change[2], found[4], found[5] }
        end
    end
end

-- Nobody has anything to do with what is erased.
local function forget(lane)
    local l = c[lane]
    if l.claim and l.seq and erased[l.seq] then
        let_go(l)
        due_at(s, lane, now)
    end
    if l.redo then
        local kept = {}
        for _, redo in ipairs(l.redo) do
            if not erased[redo[1]] then table.insert(kept, redo) end
        end
        l.redo = kept[1] and kept or nil
        s.at[lane] = s.at[lane] or now
    end
    if not l.next then return end
    local waits = { l.next .. ':' .. l.since }
    if l.more then
        for _, entry in ipairs(call('LRANGE', keys[lane], 0, -1)) do table.insert(waits, entry) end
    end
    local kept = {}
    for _, entry in ipairs(waits) do
        if not erased[tonumber(entry:match('(%d+):'))] then table.insert(kept, entry) end
    end
    if #kept == #waits then return end
    if not l.claim then due_at(s, lane, now) end
    local first = table.remove(kept, 1)
    if first then
        local seq, at = first:match('(%d+):(%d+)')
        l.next, l.since = tonumber(seq), tonumber(at)
    else
        l.next, l.since = nil, nil
    end
    l.more = #kept > 0 and #kept or nil
    s.queues[lane] = { popped = 0, pushed = kept, first = 1, cleared = true }
end
if next(erased) then
    forget('agent')
    forget('deliver')
    if c.asked and erased[c.asked] then
        local from = c.asked
        c.asked = nil
        scan(s, from, function(seq, found)
            if bit.band(found[1], WAITS) ~= 0 then c.asked = seq end
            return c.asked
        end)
        if not c.asked then c.due = nil end
    end
    if c.letters then
        letters = letters_of(s, function(seq) return erased[seq] end)
        c.letters = c.letters > #letters and c.letters - #letters or nil
        if not c.letters and c.attention == DEAD_LETTER then c.attention = nil end
    end
end
if ask.leave then
    for at = 1, #c.people, 24 do
        if c.people:sub(at, at + 15) == ask.contact then
            c.people = c.people:sub(1, at - 1) .. c.people:sub(at + 24)
            break
        end
    end
    call('HDEL', keys.posts, ask.contact .. s.id)
end
for _, change in ipairs(ask.changes) do
    if change[3] then call('HDEL', KEYS[change[4]], change[3]) end
end
for _, letter in ipairs(letters) do call('ZREM', keys.letters, letter) end
if alone and ask.begin and call('HGET', KEYS[12], ask.thread) == s.id then call('HDEL', KEYS[12], ask.thread) end
write(s)
return pack({ 'done' })
