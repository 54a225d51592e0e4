-- Reads what of a conversation has to fit together, as it is at one moment. KEYS: those of every verb on one conversation.
-- from: the first event to be read, at least; rows, bytes: how many, about.
-- Gives nothing where there is no such conversation, and the conversation alone where it cannot be understood.

local stored = call('GET', KEYS[1])
if not stored then return pack({}) end

local function look()
    local c, id = unpacked(stored), ask.id
    local function lane_of(lane, queue)
        local l, of = c[lane], lanes[lane]
        local score = tonumber(call('ZSCORE', KEYS[5], id .. of.letter) or nil)
        local class = score and math.floor(score / ERA) - of.base
        local fits = not class or (class >= FRESH and class <= HELD and (class == HELD) == (l.claim ~= nil))
        -- One that was woken waits no more, and says so when it is claimed.
        local due = score and (class == FRESH or score % ERA <= now)
        local waits = due or not l.parked or call('ZSCORE', KEYS[6], l.parked .. id .. of.letter) ~= false
        local endless = l.till and l.till - now or 0
        return { score ~= nil, fits, waits, call('LLEN', queue), call('LINDEX', queue, -1), endless }
    end
    local place, assigned, moment = stands(c, id)
    local listed = call('ZSCORE', KEYS[7], place) ~= false
    if assigned and not call('ZSCORE', KEYS[7], assigned) then listed = false end
    local woken = tonumber(call('ZSCORE', KEYS[8], id) or nil) == moment
    local on_their_way = {}
    for at = 1, #c.people, 24 do
        local contact = c.people:sub(at, at + 15)
        if call('HEXISTS', KEYS[11], contact .. id) == 1 then table.insert(on_their_way, contact) end
    end
    local length, elements, bytes = call('LLEN', KEYS[2]), {}, 0
    local first = math.max(ask.from - c.first, 0)
    while first + #elements < length and #elements < ask.rows and bytes < ask.bytes do
        local next = first + #elements
        for _, element in ipairs(call('LRANGE', KEYS[2], next, next + math.min(15, ask.rows - #elements - 1))) do
            table.insert(elements, element)
            bytes = bytes + #element
        end
    end
    return pack({
        stored, { lane_of('agent', KEYS[3]), lane_of('deliver', KEYS[4]) }, listed, woken, on_their_way,
        c.first + first, elements, first + #elements < length, c.letters or 0,
    })
end

local fine, told = pcall(look)
return fine and told or pack({ stored })
