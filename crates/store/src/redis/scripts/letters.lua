-- Added to the effects by the scripts that take things away.

-- The stored dead letters of a conversation that are about such events.
local function letters_of(s, is_one)
    local found = {}
    for _, letter in ipairs(call('ZRANGE', s.keys.letters, 0, -1)) do
        local of = unpacked(letter:sub(17))
        if of[1] == s.id and is_one(of[3]) then table.insert(found, letter) end
    end
    return found
end
