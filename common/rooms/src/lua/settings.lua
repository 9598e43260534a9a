-- Shared by what rests on the call's settings: media, chat, hint.

-- The first of the settings named that is off in the meta; nil when none is. One that the meta does not have is on.
local function first_off(meta, names)
  local settings = cjson.decode(meta).settings or {}
  for name in string.gmatch(names, '%S+') do
    if settings[name] == false then return name end
  end
end
