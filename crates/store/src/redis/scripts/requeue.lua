-- Ends a dead letter. KEYS[12]: the operation.

local before = answered(KEYS[12])
if before then return pack({ before }) end

local function answer(what, s)
    remember(KEYS[12], what)
    return pack({ what, now, s and posted(s) })
end

local letter = call('ZRANGEBYLEX', named_keys.letters, '[' .. ask.letter, '[' .. ask.letter .. '\255', 'LIMIT', 0, 1)[1]
local s = letter and load(ask.id, named_keys)
if not s then return answer({ 'missing' }) end
local failed = failed_guard(s, ask.guards)
if failed then return answer({ 'guarded', failed, s.c.version }) end
s.ending = true
for _, effect in ipairs(ask.effects) do apply(s, effect) end
s.c.letters = s.c.letters > 1 and s.c.letters - 1 or nil
if ask.replay then
    local l, asked = s.c[ask.lane], false
    for _, redo in ipairs(l.redo or {}) do asked = asked or redo[1] == ask.seq end
    if not asked then
        l.redo = l.redo or {}
        table.insert(l.redo, { ask.seq, ask.batch_from or false, element(s, ask.seq)[2] })
    end
    due_at(s, ask.lane, now)
end

call('ZREM', named_keys.letters, letter)
write(s)
return answer({ 'done', s.c.version, s.c.last }, s)
