-- Shared by every script that touches conversations. One script is one verb: it reads, decides nothing, checks everything that
-- can be refused, and only then writes, as what an error leaves behind is not taken back.
--
-- ARGV[1] is the call, packed. Answers are packed too. A refusal is an error whose text begins with REFUSED.
-- A conversation is a packed map at its key; see records.rs for its fields. Functions are few and some are long: they are
-- made anew for each call.

local call, pack, unpacked = redis.call, cmsgpack.pack, cmsgpack.unpack
local ask = unpacked(ARGV[1])

local clock = call('TIME')
local micros = clock[1] * 1000000 + clock[2]
-- The server's time, unless a test holds the time in its hand.
local now = ask.now or math.floor(micros / 1000)

local TEN_MINUTES = 600000

local function refuse(why)
    error({ err = 'REFUSED ' .. why })
end

-- What an operation answered before, or nil.
local function answered(key)
    local answer = call('GET', key)
    return answer and unpacked(answer)
end

local function remember(key, answer)
    call('SET', key, pack(answer), 'PX', TEN_MINUTES)
end

-- The schedule -----------------------------------------------------------------------------------------------------
-- One sorted set per partition holds every lane that has something to do or is claimed. Its score is a class and a moment,
-- so that moving a lane from one class to another is one ZADD. Within a class the earliest comes first. What is FRESH is due,
-- whatever the clock says now; TRIED is due at its moment, as its event was released before, or the lane was for a time.
-- A member is a conversation's id and a lane's letter.

local ERA = 281474976710656 -- 2^48 milliseconds
local LATEST = 253402300799999
local FRESH, TRIED, HELD = 0, 1, 2
local lanes = {
    agent = { letter = 'a', base = 0, woken = 1, passed = 4 },
    deliver = { letter = 'd', base = 3, woken = 2, passed = 8 },
}

-- A conversation in hand -------------------------------------------------------------------------------------------

-- Where it stands in its partition's index and timers: place, place at its assignee, moment.
local function stands(c, id)
    local grown = struct.pack('>I6', c.grown) .. id
    local never = math.huge
    local earliest = math.min(c.snoozed or never, c.due or never, c.fetching or never)
    local shelf = string.char(c.status * 16 + c.owner * 8 + (c.attention or 0))
    return 'c' .. string.char(#c.channel) .. c.channel .. shelf .. grown,
        c.assignee and ('a' .. struct.pack('>I2', #c.assignee) .. c.assignee .. grown) or nil,
        earliest < math.huge and earliest or nil
end

-- keys: conversation, log, agent, deliver (its own); schedule, waits, and those of effects.lua (its partition's)
local function hand(id, c, keys)
    local s = {
        id = id, c = c, keys = keys,
        stored = c.last, -- the log's end as it is stored
        added = {}, -- elements to append to it
        edited = {}, -- elements to replace in it, by seq
        named = {}, -- messages to index: bucket key, id, seq
        found = {}, -- seq of those, by id
        queues = {}, -- what becomes of the lanes' queues
        at = {}, -- lanes that are due at another moment than before
        claimed = {}, -- lanes claimed by this verb
        parked = {}, -- what lanes wait for from now on
        unparked = {}, -- what they waited for
        posts = {}, -- contacts to tell the contacts' partition of
        letters = {}, -- dead letters to add
    }
    if c.last > 0 then s.place, s.assigned, s.timer = stands(c, id) end
    return s
end

local function load(id, keys)
    local stored = call('GET', keys.conversation)
    return stored and hand(id, unpacked(stored), keys)
end

-- The log ----------------------------------------------------------------------------------------------------------
-- A list of elements {marks, at, event, status of an outbound message, its parts}. Marks: which lanes the event woke (1, 2) or
-- passed by (4, 8), whether it brings a message (16), whether that waits for an answer (32).

local WAITS = 32

local function element(s, seq)
    if seq > s.stored then return s.added[seq - s.stored] end
    return s.edited[seq] or unpacked(call('LINDEX', s.keys.log, seq - s.c.first))
end

-- Calls `see` for each event from `seq` on until it says true.
local function scan(s, seq, see)
    while seq <= s.stored do
        local from = seq - s.c.first
        for _, stored in ipairs(call('LRANGE', s.keys.log, from, from + 63)) do
            if seq > s.stored or see(seq, s.edited[seq] or unpacked(stored)) then return end
            seq = seq + 1
        end
    end
    while seq <= s.c.last do
        if see(seq, s.added[seq - s.stored]) then return end
        seq = seq + 1
    end
end

-- Lanes ------------------------------------------------------------------------------------------------------------
-- cursor; next and since: the first event it has to do and when that was recorded; more: how many wait behind it, in a list of
-- their own that is there only while it is needed; redo: {seq, batch from, since} that a replay asked for; tried: what the tries at
-- an event left behind; claim, till, span, seq, replay: the present claim; parked: what it waits for.

-- Has a lane do an event, after what it has to do already.
local function push(s, lane, seq, at)
    local l = s.c[lane]
    if not l.next then
        l.next, l.since = seq, at
        return
    end
    local q = s.queues[lane] or { popped = 0, pushed = {}, first = 1 }
    s.queues[lane] = q
    table.insert(q.pushed, seq .. ':' .. at)
    l.more = (l.more or 0) + 1
end

-- A lane has done with its own events up to here.
local function done_through(s, lane, through)
    local l = s.c[lane]
    l.cursor = math.max(l.cursor, through)
    while l.next and l.next <= through do
        if l.more then
            local q = s.queues[lane] or { popped = 0, pushed = {}, first = 1 }
            s.queues[lane] = q
            local entry = not q.cleared and call('LINDEX', s.keys[lane], q.popped)
            if entry then
                q.popped = q.popped + 1
            else
                entry = q.pushed[q.first]
                q.first = q.first + 1
            end
            local seq, at = entry:match('(%d+):(%d+)')
            l.next, l.since = tonumber(seq), tonumber(at)
            l.more = l.more > 1 and l.more - 1 or nil
        else
            l.next, l.since = nil, nil
        end
    end
end

-- The lane, if it has anything to do, is due at this moment and waits for nothing else. Tries at what it has not to do any more
-- are forgotten.
local function due_at(s, lane, moment)
    local l = s.c[lane]
    s.at[lane] = moment
    if l.parked then
        s.unparked[lane], l.parked = l.parked, nil
    end
    if l.tried then
        local kept = {}
        for _, tried in ipairs(l.tried) do
            local to_do = not tried[2] and tried[1] > l.cursor
            if tried[2] then
                for _, redo in ipairs(l.redo or {}) do to_do = to_do or redo[1] == tried[1] end
            end
            if to_do then table.insert(kept, tried) end
        end
        l.tried = kept[1] and kept or nil
    end
end

-- Claims -----------------------------------------------------------------------------------------------------------

-- Whether somebody holds a lane; with `claim`, whether this one does. An end further off than the lease is long is that of a clock
-- that was wrong: it counts as past.
local function is_held(l, claim)
    return l.claim and (not claim or l.claim == claim) and now < l.till and l.till <= now + l.span
end

local function let_go(l)
    l.claim, l.till, l.span, l.seq, l.replay = nil, nil, nil, nil, nil
end

-- Claims a lane if it is due and nobody has it: a replay first, else the first event that it has to do.
local function claim(s, lane, id, lease)
    local l = s.c[lane]
    if is_held(l) then return false end
    if not l.next and not l.redo then
        -- It was taken away from under a claim whose time is over.
        if l.claim then
            let_go(l)
            s.at[lane] = now
        end
        return false
    end
    if not l.claim then
        local moment = s.at[lane]
        if not moment then
            local stored = tonumber(call('ZSCORE', s.keys.schedule, s.id .. lanes[lane].letter) or nil)
            moment = stored and (math.floor(stored / ERA) == lanes[lane].base + FRESH and now or stored % ERA)
        end
        if not moment or moment > now then return false end
    end
    if l.parked then
        s.unparked[lane], l.parked = l.parked, nil
    end
    l.claim, l.till, l.span = id, now + lease, lease
    l.replay = l.redo and true or nil
    l.seq = l.redo and l.redo[1][1] or l.next
    s.claimed[lane] = true
    return true
end

-- What a claim's holder is told. `record`: the conversation as it is stored now.
local function describe(s, lane, record)
    local l = s.c[lane]
    local batch_from, progress, stored = false, false, nil
    if l.replay then
        for _, redo in ipairs(l.redo or {}) do
            if redo[1] == l.seq then batch_from = redo[2] end
        end
    end
    for _, tried in ipairs(l.tried or {}) do
        if tried[1] == l.seq and tried[2] == (l.replay or false) then progress = tried end
    end
    if l.seq > s.stored or s.edited[l.seq] then
        stored = pack(element(s, l.seq))
    else
        stored = call('LINDEX', s.keys.log, l.seq - s.c.first)
    end
    return { l.claim, lanes[lane].letter, s.id, record, l.seq, l.replay or false, stored, batch_from, progress }
end

-- Writing ----------------------------------------------------------------------------------------------------------

-- Writes the lanes and the conversation itself. Returns the conversation as it is stored now.
local function write_record(s)
    for lane, of in pairs(lanes) do
        local l, q, member = s.c[lane], s.queues[lane], s.id .. of.letter
        if q then
            if q.cleared then
                call('DEL', s.keys[lane])
            elseif q.popped > 0 then
                call('LTRIM', s.keys[lane], q.popped, -1)
            end
            for i = q.first, #q.pushed do call('RPUSH', s.keys[lane], q.pushed[i]) end
        end
        local at = s.at[lane]
        if s.claimed[lane] then
            call('ZADD', s.keys.schedule, (of.base + HELD) * ERA + math.min(l.till, LATEST), member)
        elseif at and not l.claim then
            if l.next or l.redo then
                local class = (l.tried or at > now) and TRIED or FRESH
                call('ZADD', s.keys.schedule, (of.base + class) * ERA + math.max(0, math.min(at, LATEST)), member)
            else
                call('ZREM', s.keys.schedule, member)
            end
        end
        if s.unparked[lane] then call('ZREM', s.keys.waits, s.unparked[lane] .. member) end
        if s.parked[lane] then call('ZADD', s.keys.waits, 0, s.parked[lane] .. member) end
    end
    local record = pack(s.c)
    call('SET', s.keys.conversation, record)
    return record
end
