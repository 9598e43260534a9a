-- Shared by what changes a participant's media: media, mute.

-- The media as everybody sees them: without what a moderator has switched off, which stands beside them in `held`.
local function public_media(media)
  return string.format('{"videoEnabled":%s,"audioEnabled":%s,"screenShareEnabled":%s}',
    tostring(media.videoEnabled), tostring(media.audioEnabled), tostring(media.screenShareEnabled))
end
