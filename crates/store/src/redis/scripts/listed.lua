-- Whether what a list of a partition names is as it says. KEYS: those of every verb on one conversation.
-- list: which of them the member stands in; member. Gives nothing where the member is gone or fits.

local key = ({ schedule = 5, waits = 6, index = 7, timers = 8, letters = 10 })[ask.list]
local score = call('ZSCORE', KEYS[key], ask.member)
if not score then return pack({}) end
local stored = call('GET', KEYS[1])
if not stored then return pack({ 'gone' }) end

local function fits()
    local c = unpacked(stored)
    if ask.list == 'index' then
        local place, assigned = stands(c, ask.id)
        return ask.member == place or ask.member == assigned
    elseif ask.list == 'timers' then
        local _, _, moment = stands(c, ask.id)
        return moment == tonumber(score)
    elseif ask.list == 'waits' then
        local lane = ask.member:sub(-1) == 'a' and 'agent' or 'deliver'
        return c[lane].parked == ask.member:sub(1, -18)
    elseif ask.list == 'letters' then
        local element = ask.seq >= c.first and call('LINDEX', KEYS[2], ask.seq - c.first)
        return element and unpacked(unpacked(element)[3])[1] == ask.event
    end
    return true
end

-- What cannot be understood is told where the conversation is looked at.
local fine, does = pcall(fits)
return pack(fine and not does and { 'other' } or {})
