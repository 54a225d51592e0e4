-- Which of these commands on these keys the user may not call.

local missing = {}
for _, command in ipairs(cmsgpack.unpack(ARGV[1]).commands) do
    if not redis.acl_check_cmd(unpack(command)) then table.insert(missing, command[1]) end
end
return cmsgpack.pack(missing)
