-- Makes due what waits for something, some lanes at a time. KEYS: schedule, waits.

local from, to = '[' .. ask.waiting, '(' .. ask.waiting .. string.rep('\255', 18)
local woken = 0
local found = call('ZRANGEBYLEX', KEYS[2], from, to, 'LIMIT', 0, ask.limit)
for _, parked in ipairs(found) do
    local lane = parked:sub(9)
    local at = tonumber(call('ZSCORE', KEYS[1], lane) or 0)
    local class = math.floor(at / ERA)
    if class % 3 ~= HELD and at % ERA > now then
        call('ZADD', KEYS[1], class * ERA + now, lane)
        woken = woken + 1
    end
    call('ZREM', KEYS[2], parked)
end
return pack({ woken, #found == ask.limit })
