-- Reads a log from an event on, up or down, within bounds. KEYS: conversation, log.
-- `each`: what an event takes in an answer beyond what is stored. Nothing is unpacked: an element's second byte is its marks.

local stored = redis.call('GET', KEYS[1])
if not stored then return cmsgpack.pack({}) end
local ask, c = cmsgpack.unpack(ARGV[1]), cmsgpack.unpack(stored)

local MESSAGE = 16
local step = ask.down and -1 or 1
local seq = ask.down and math.min(ask.from, c.last) or math.max(ask.from, c.first)
local found, bytes, more = {}, 0, false
local chunk = 16
while not more and seq >= c.first and seq <= c.last do
    local from = seq - c.first
    local to = math.max(0, from + step * (chunk - 1))
    local elements = redis.call('LRANGE', KEYS[2], math.min(from, to), math.max(from, to))
    local place, last = 1, #elements
    if ask.down then place, last = #elements, 1 end
    for i = place, last, step do
        local element = elements[i]
        if not ask.messages or bit.band(element:byte(2), MESSAGE) ~= 0 then
            if #found >= ask.rows or (#found > 0 and bytes > ask.bytes) then
                more = true
                break
            end
            bytes = bytes + #element + ask.each
            table.insert(found, { seq, element })
        end
        seq = seq + step
    end
    -- Small steps at first: a long message is not read for nothing.
    chunk = math.min(2 * chunk, 128)
end
return cmsgpack.pack({ found, more })
