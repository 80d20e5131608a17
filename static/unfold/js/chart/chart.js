// In place of django-unfold's copy of Chart.js, 69 kB on each page of the admin, whose charts are drawn by the server.
