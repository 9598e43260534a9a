-- media_state: a participant's media. Used by media and mute.

-- Returns the media as clients see them: without `held`, the kinds that a moderator switched off.
local function public_media(media)
  return string.format('{"videoEnabled":%s,"audioEnabled":%s,"screenShareEnabled":%s}',
    tostring(media.videoEnabled), tostring(media.audioEnabled), tostring(media.screenShareEnabled))
end
