# A moving test picture, scaled, blurred and encoded on two threads; nothing is kept.
exec ffmpeg -nostdin -loglevel error -threads 2 -filter_threads 2 \
  -f lavfi -i testsrc2=size=1280x720:rate=25:duration=4 \
  -vf 'scale=960:540,boxblur=2:1' -c:v libx264 -preset ultrafast -threads 2 -f null -
