-- Changes a conversation without a claim. KEYS[12]: the operation; KEYS[13], with `once`: what became of that request, if it was
-- carried out in this partition: {fingerprint, conversation, version, answer}, or {up to which try it is not to be}.

local before = answered(KEYS[12])
if before then return pack({ before }) end

local function answer(what, s)
    remember(KEYS[12], what)
    return pack({ what, now, s and posted(s) })
end

local once = ask.once
local known = once and answered(KEYS[13])
if known and known[2] then
    if known[1] ~= once.fingerprint then return answer({ 'reused' }) end
    return answer({ 'repeated', known[2], known[3], known[4] })
end
if known and once.try <= known[1] then return pack({ { 'elsewhere' } }) end
if ask.low then return pack({ { 'full' } }) end

local s = load(ask.id, named_keys)
if not s then return answer({ 'missing' }) end
local failed = failed_guard(s, ask.guards)
if failed then return answer({ 'guarded', failed, s.c.version }) end
for _, effect in ipairs(ask.effects) do apply(s, effect) end

write(s)
if once then
    call('SET', KEYS[13], pack({ once.fingerprint, s.id, s.c.version, once.answer }), 'PX', once.keep)
end
return answer({ 'done', s.c.version, s.c.last }, s)
