-- required_settings: the call's settings and the user's permissions that an operation needs. Used
-- by media, chat and ephemeral.

-- Returns the user of a peer id: `user`, or `user#2` for the second device.
local function user_of(peer)
  return string.match(peer, '^[^#]+')
end

-- Returns the first of the named settings and permissions that is off, or nil if none is. One that
-- is not there is on. `permissions` are those that the backend of the app gave the user in this
-- room, or false: the rules have compared those of the token.
local function first_off(meta, permissions, names)
  local settings = cjson.decode(meta).settings or {}
  local given = permissions and cjson.decode(permissions) or {}
  for name in string.gmatch(names, '%S+') do
    if settings[name] == false or given[name] == false then return name end
  end
end
