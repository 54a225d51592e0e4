-- The newest conversations of one partition's shelves, behind a place. KEYS: index.
-- `shelves` says of each shelf, in the order of their numbers, whether it is asked for.
-- An index member is 'c', channel (its length before it), shelf, time, id; or 'a', assignee (likewise), time, id.

local ask = cmsgpack.unpack(ARGV[1])
local LAST = string.rep('\255', 22)
local WANTED = 49 -- '1'

local function first_from(min, max)
    return redis.call('ZRANGEBYLEX', KEYS[1], min, max, 'LIMIT', 0, 1)[1]
end

-- Which shelves hold anything, found by as many steps through the index as there are.
local function shelves(start)
    local found, min, max = {}, '[' .. start, '(' .. start .. LAST .. LAST .. LAST .. LAST
    local member = first_from(min, max)
    while member do
        local prefix = member:sub(1, 3 + member:byte(2))
        if ask.shelves:byte(prefix:byte(-1) + 1) == WANTED then table.insert(found, prefix) end
        member = first_from('(' .. prefix .. LAST, max)
    end
    return found
end

local prefixes = {}
if ask.assignee then
    prefixes[1] = 'a' .. ask.assignee
elseif ask.channels[1] then
    for _, channel in ipairs(ask.channels) do
        for _, prefix in ipairs(shelves('c' .. channel)) do table.insert(prefixes, prefix) end
    end
else
    prefixes = shelves('c')
end

local places = {}
for _, prefix in ipairs(prefixes) do
    local max = ask.before and '(' .. prefix .. ask.before or '[' .. prefix .. LAST
    for _, member in ipairs(redis.call('ZREVRANGEBYLEX', KEYS[1], max, '[' .. prefix, 'LIMIT', 0, ask.limit)) do
        table.insert(places, member:sub(-22))
    end
end
table.sort(places, function(a, b) return a > b end)
local first = {}
for i = 1, math.min(ask.limit, #places) do first[i] = places[i] end
return cmsgpack.pack(first)
