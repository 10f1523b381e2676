// Tells a planegym collector once a second how a dash.js player (3.x to 5.x)
// does: planegym(player, "http://collector:8080/"). Returns a function that
// ends it. CalcBitrate, kilobytes decoded so far, exists in Chromium only.
function planegym(player, url) {
  "use strict";
  var step = 100, stalled = 0, started = false, stallFrom = performance.now();

  function video() { return player.getVideoElement(); }

  // A stall is a wish to play without what to play, after the first frame.
  var watch = setInterval(function () {
    var v = video(), now = performance.now();
    started = started || v && v.currentTime > 0;
    if (started && v && !v.paused && !v.ended && !v.seeking && v.readyState < 3) {
      stalled += (now - stallFrom) / 1000;
    }
    stallFrom = now;
  }, step);

  function representation() {
    if (player.getCurrentRepresentationForType) { // 5.x
      var r = player.getCurrentRepresentationForType("video");
      return r && { kbps: r.bandwidth / 1000, width: r.width, height: r.height, fps: r.frameRate };
    }
    var i = player.getQualityFor("video"), info = player.getBitrateInfoListFor("video")[i];
    var track = player.getCurrentTrackFor("video");
    var one = track && track.bitrateList && track.bitrateList[i];
    if (!info) { return null; }
    var adaptation = player.getDashAdapter && player.getActiveStream() &&
      player.getDashAdapter().getAdaptationForType(player.getActiveStream().getStreamInfo().index, "video", player.getActiveStream().getStreamInfo());
    var list = adaptation && (adaptation.Representation || adaptation.Representation_asArray);
    var rep = list && (list.length === undefined ? list : list[i]);
    return {
      kbps: info.bitrate / 1000, width: info.width || (one && one.width), height: info.height || (one && one.height),
      fps: rep && rep.frameRate
    };
  }

  // number is a finite number of at least 0, or null: not measured. Frame rates
  // may be written as fractions, 30000/1001.
  function number(v) {
    var parts = typeof v === "string" ? v.split("/") : [v];
    var n = parts.length === 2 ? Number(parts[0]) / Number(parts[1]) : Number(parts[0]);
    return v !== null && v !== undefined && isFinite(n) && n >= 0 ? n : null;
  }

  var tell = setInterval(function () {
    var now = Date.now(), sample = { timestamp: now };
    try {
      var r = representation() || {}, decoded = video().webkitVideoDecodedByteCount;
      sample.Buffer = number(player.getDashMetrics().getCurrentBufferLevel("video"));
      sample.FPS = number(r.fps);
      sample.ReportedBitrate = number(r.kbps);
      sample.Resolution = r.width > 0 && r.height > 0 ? r.width + "x" + r.height : null;
      sample.CalcBitrate = decoded === undefined ? null : Math.round(decoded / 1000);
    } catch (e) { /* no stream yet: what is missing was not measured */ }
    sample.stall_s = Math.min(stalled, 1);
    stalled = 0;
    // Plain text, so that the browser asks no leave of another host first.
    fetch(url + (url.indexOf("?") < 0 ? "?" : "&") + "now=" + now, { method: "POST", body: JSON.stringify(sample), keepalive: true,
      headers: { "Content-Type": "text/plain" } }).catch(function () { /* the collector notices the gap */ });
  }, 1000);

  return function () { clearInterval(watch); clearInterval(tell); };
}
