-- Guards and effects. Added to the prelude by the scripts of those verbs that carry them.
-- A message that an effect names comes with the number of the key under which its partition knows it.

local DEAD_LETTER = 1
local SENDING = 2
local RESOLVED = 3

-- Where a message of this conversation stands, or nil.
local function find(s, message, bucket)
    if s.found[message] then return s.found[message] end
    local stored = call('HGET', KEYS[bucket], message)
    if stored and stored:sub(1, 16) == s.id then return tonumber(stored:sub(17)) end
end

-- An outbound message's element, to be changed.
local function outbound(s, message, bucket)
    local seq = find(s, message, bucket)
    local found = seq and element(s, seq)
    if not found or not found[4] then refuse('no such outbound message in this conversation') end
    if seq <= s.stored then s.edited[seq] = found end
    return found
end

-- The number of the first guard that does not hold.
local function failed_guard(s, guards)
    for number, guard in ipairs(guards) do
        local what, wanted = guard[1], guard[2]
        if what == 'not frozen' then
            local seq = find(s, wanted, guard[3])
            if seq and element(s, seq)[5] then return number end
        elseif s.c[what] ~= wanted then
            -- The others are named after what they look at.
            return number
        end
    end
end

-- An event. e: at, event, marks, wakes {lane, only if owner}, message, its bucket, status
local function append(s, e)
    local c, at, marks, message, status = s.c, e[2], e[4], e[6], e[8]
    c.last = c.last + 1
    c.grown = math.max(c.grown, at)
    local woken = {}
    for _, wake in ipairs(e[5]) do
        woken[wake[1]] = woken[wake[1]] or not wake[2] or wake[2] == c.owner
    end
    for lane, is in pairs(woken) do
        marks = marks + (is and lanes[lane].woken or lanes[lane].passed)
    end
    table.insert(s.added, { marks, at, e[3], status or nil })
    if message then
        if s.found[message] or call('HEXISTS', KEYS[e[7]], message) == 1 then
            refuse('there is a message of this id already')
        end
        s.found[message] = c.last
        table.insert(s.named, { KEYS[e[7]], message, c.last })
    end
    if bit.band(marks, WAITS) ~= 0 then c.waits = c.last end
    for lane, is in pairs(woken) do
        local l = c[lane]
        if is then
            -- A lane that has work already keeps its time: a parked or leased one is not moved by new work.
            if not (l.next or l.redo or l.claim) then s.at[lane] = now end
            push(s, lane, c.last, at)
        elseif not l.next then
            -- One that is switched off and has nothing left follows the tail.
            l.cursor = c.last
        end
    end
end

-- What our side answered, up to an event, or all.
local function answer_through(s, through)
    local c = s.c
    if not through then
        c.asked = nil
    elseif c.asked and c.asked <= through then
        c.asked = nil
        if c.waits and c.waits > through then
            scan(s, through + 1, function(seq, found)
                if bit.band(found[1], WAITS) ~= 0 then c.asked = seq end
                return c.asked
            end)
        end
    end
    if not c.asked then c.due = nil end
end

-- The agent lane goes on at the first unanswered message, or at the end. What would have woken it while it was off wakes it
-- from there on.
local function move_agent(s, to_unanswered)
    local c = s.c
    local l = c.agent
    if l.more then s.queues.agent = { popped = 0, pushed = {}, first = 1, cleared = true } end
    l.next, l.since, l.more = nil, nil, nil
    if to_unanswered and c.asked then
        l.cursor = c.asked - 1
        scan(s, c.asked, function(seq, found)
            if bit.band(found[1], 5) ~= 0 then push(s, 'agent', seq, found[2]) end
        end)
    else
        l.cursor, l.redo = c.last, nil
    end
    due_at(s, 'agent', now)
    l.tried = nil
end

-- A contact takes part. e: the contact, digest of what is known of them, that itself
local function participant(s, e)
    local c, contact, digest = s.c, e[2], e[3]
    for at = 1, #c.people, 24 do
        if c.people:sub(at, at + 15) == contact then
            if c.people:sub(at + 16, at + 23) == digest then return end
            c.people = c.people:sub(1, at + 15) .. digest .. c.people:sub(at + 24)
            s.posts[contact] = e[4]
            return
        end
    end
    c.people = c.people .. contact .. digest
    s.posts[contact] = e[4]
end

-- One chain of names, not a table of functions: a script's functions are made anew for each call.
local function apply(s, e)
    local c, what, value = s.c, e[1], e[2]
    if what == 'append' then
        append(s, e)
    elseif what == 'bump' then
        c.version = c.version + 1
    elseif what == 'participant' then
        participant(s, e)
    elseif what == 'channel' then
        c.channel = value
    elseif what == 'status' then
        for _, from in ipairs(value) do
            if from == c.status then
                c.status = e[3]
                break
            end
        end
    elseif what == 'snooze' then
        c.snoozed = value or nil
    elseif what == 'mark_unanswered' then
        c.asked = c.asked or c.last
    elseif what == 'start_answer_by' then -- only if owner, at
        if c.owner == value and c.asked then c.due = c.due or e[3] end
    elseif what == 'answered' then
        answer_through(s, value)
    elseif what == 'note_answered' then
        c.answered = c.answered or value
    elseif what == 'clear_attention' then
        if c.attention == value then c.attention = nil end
    elseif what == 'freeze' then -- message, bucket, parts: frozen, state, frozen, state, ...
        local found = outbound(s, value, e[3])
        if found[5] then refuse("the message's parts are frozen already") end
        found[4], found[5] = SENDING, e[4]
    elseif what == 'part' then -- message, bucket, place from 0, state
        local parts = outbound(s, value, e[3])[5]
        if not parts or not parts[2 * e[4] + 2] then refuse('no such frozen part in this conversation') end
        parts[2 * e[4] + 2] = e[5]
    elseif what == 'delivery' then -- message, bucket, status
        outbound(s, value, e[3])[4] = e[4]
    elseif what == 'owner' then
        c.owner = value
    elseif what == 'attention' then
        c.attention = value or nil
    elseif what == 'add_attention' then
        c.attention = c.attention or value
    elseif what == 'clear_letters' then
        local others = (c.letters or 0) - (s.ending and 1 or 0)
        if c.attention == DEAD_LETTER and others <= 0 then c.attention = nil end
    elseif what == 'assignee' then
        c.assignee = value or nil
    elseif what == 'answer_by' then
        c.due = c.asked and value or nil
    elseif what == 'batch' then
        c.batch = value or nil
    elseif what == 'agent_done' then
        if value > c.last then refuse('the agent lane cannot be done with what is not in the log yet') end
        if value > c.agent.cursor then
            done_through(s, 'agent', value)
            due_at(s, 'agent', now)
        end
    elseif what == 'rewind' then
        move_agent(s, true)
    elseif what == 'follow_tail' then
        move_agent(s, false)
    elseif what == 'discarded' then
        c.discarded = (c.discarded or '') .. value
    elseif what == 'clear_discarded' then
        c.discarded = nil
    elseif what == 'know' then -- key, where it is known, message
        table.insert(s.named, { KEYS[e[3]], value, e[4] })
    elseif what == 'origin' then
        c.origin = c.origin or value
    elseif what == 'rewrite' then -- message, bucket, its event as it is to be
        local seq = find(s, value, e[3])
        local found = seq and element(s, seq)
        if not found then refuse('no such message in this conversation') end
        found[3] = e[4]
        if seq <= s.stored then s.edited[seq] = found end
    elseif what == 'mark_fetching' then -- at, event
        local seq = e[3] or c.last
        c.fetch = c.fetch or { seq, seq }
        c.fetch[1], c.fetch[2] = math.min(c.fetch[1], seq), math.max(c.fetch[2], seq)
        c.fetching = math.min(c.fetching or value, value)
    elseif what == 'fetching_at' then
        if c.fetch then c.fetching = value end
    elseif what == 'fetched' then -- through, at
        if c.fetch and c.fetch[2] > value then
            c.fetch[1], c.fetching = math.max(c.fetch[1], value + 1), e[3]
        else
            c.fetch, c.fetching = nil, nil
        end
    elseif what == 'dead_letter' then -- as it is stored, its id first
        c.letters = (c.letters or 0) + 1
        table.insert(s.letters, value)
    else
        refuse('an effect that this script does not know')
    end
end

-- Writes everything. Returns the conversation as it is stored now.
local function write(s)
    local c, keys = s.c, s.keys
    if s.added[1] then
        local entries, number, moment = {}, 0, micros - 1
        local last = call('LINDEX', keys.feed, -1)
        if last then
            last = unpacked(last)
            -- Each entry has a moment of its own, later than all before it, whatever the clock says.
            number, moment = last[1], math.max(last[2], moment)
        end
        for i, new in ipairs(s.added) do
            call('RPUSH', keys.log, pack(new))
            entries[i] = pack({ number + i, moment + i, s.id, s.stored + i })
        end
        -- Some at a time: a script's call takes a few thousand values.
        for i = 1, #entries, 1000 do call('RPUSH', keys.feed, unpack(entries, i, math.min(i + 999, #entries))) end
        -- Not every time: a feed may be somewhat longer than it has to be.
        if math.floor((number + #entries) / 64) ~= math.floor(number / 64) then call('LTRIM', keys.feed, -ask.feed, -1) end
    end
    for seq, changed in pairs(s.edited) do call('LSET', keys.log, seq - c.first, pack(changed)) end
    for _, named in ipairs(s.named) do call('HSET', named[1], named[2], s.id .. named[3]) end
    for _, letter in ipairs(s.letters) do call('ZADD', keys.letters, 0, letter) end
    for contact, known in pairs(s.posts) do call('HSET', keys.posts, contact .. s.id, pack({ now, known })) end
    local place, assigned, moment = stands(c, s.id)
    if place ~= s.place then
        if s.place then call('ZREM', keys.index, s.place) end
        call('ZADD', keys.index, 0, place)
    end
    if assigned ~= s.assigned then
        if s.assigned then call('ZREM', keys.index, s.assigned) end
        if assigned then call('ZADD', keys.index, 0, assigned) end
    end
    if moment and moment ~= s.timer then call('ZADD', keys.timers, moment, s.id) end
    if s.timer and not moment then call('ZREM', keys.timers, s.id) end
    return write_record(s)
end

-- Whose word the contacts' partition has not got yet.
local function posted(s)
    local contacts = {}
    for contact in pairs(s.posts) do table.insert(contacts, contact) end
    return contacts
end

-- The keys that every verb on one conversation is given first, in this order.
local named_keys = {
    conversation = KEYS[1], log = KEYS[2], agent = KEYS[3], deliver = KEYS[4], schedule = KEYS[5], waits = KEYS[6],
    index = KEYS[7], timers = KEYS[8], feed = KEYS[9], letters = KEYS[10], posts = KEYS[11],
}
