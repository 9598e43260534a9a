-- required_settings: the call's settings that an operation needs. Used by media, chat and
-- ephemeral.

-- Returns the first of the named settings that is off in the metadata, or nil if none is. A setting
-- that the metadata does not have is on.
local function first_off(meta, names)
  local settings = cjson.decode(meta).settings or {}
  for name in string.gmatch(names, '%S+') do
    if settings[name] == false then return name end
  end
end
